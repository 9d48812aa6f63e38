"""The fence: triggers that keep a subject's row and its log together, whoever writes."""

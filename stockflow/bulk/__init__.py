"""Many objects at once: one event for each, a few statements for all."""

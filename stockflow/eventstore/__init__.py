"""The log: appending to it, and reading it through ``eventsourcing``."""

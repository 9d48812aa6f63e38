"""The log: appending to it, and reading it through ``eventsourcing``.

``PERSISTENCE_MODULE=stockflow.eventstore`` has any ``eventsourcing`` application keep its events
here too, under its own name.
"""

from stockflow.eventstore.factory import Factory

__all__ = ["Factory"]

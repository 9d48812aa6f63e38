"""Django's ``flush``, which may empty the log."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from stockflow.eventstore.triggers import lifted_by_flush


class Command(flush.Command):
    """Lifts the triggers that keep the log from being emptied, for the flush alone."""

    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor not in ("postgresql", "sqlite"):
            super().handle(**options)
            return
        with lifted_by_flush(connection):
            super().handle(**options)

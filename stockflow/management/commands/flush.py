"""Django's ``flush``, past the fence: it empties the database, histories and all."""

from typing import Any

from django.core.management.commands import flush

from stockflow.fence.installing import lifted


class Command(flush.Command):
    """Empties the tables, which nothing else may do."""

    def handle(self, **options: Any) -> None:
        with lifted(options["database"]):
            super().handle(**options)

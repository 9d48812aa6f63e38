"""A trigger as text, and its name."""

from dataclasses import dataclass

from django.db.backends.utils import names_digest

from stockflow.fence.subjects import Fenced

PREFIX = "stockflow_fence_"
_LONGEST = 63


@dataclass(frozen=True)
class Trigger:
    """One trigger of the fence.

    Attributes:
        fenced: What it guards.
        operation: What it watches: ``insert``, ``update``, ``delete``, ``truncate``, ``replace``.
        body: What the database keeps as its text, and is compared by.
    """

    fenced: Fenced
    operation: str
    body: str

    @property
    def table(self) -> str:
        """The table that it stands on."""
        return self.fenced.table

    @property
    def name(self) -> str:
        """Its name, unique in its database."""
        name = f"{PREFIX}{self.operation}_{self.table}"
        if len(name) <= _LONGEST:
            return name
        return f"{name[: _LONGEST - 9]}_{names_digest(self.table, length=8)}"

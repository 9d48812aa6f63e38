"""An object's stock history: the log of one lifecycle, folded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stockflow.domain.events import StockEvent


@dataclass(frozen=True)
class Spell:
    """One stay of one object in one state of one field.

    Attributes:
        field: The stock field.
        state: Where it stayed.
        since: When it entered, or when its history began.
        until: When it left; None while it stays.
    """

    field: str
    state: str
    since: datetime
    until: datetime | None = None

    def length(self, now: datetime) -> timedelta:
        """Return how long it lasted, up to *now* if it lasts still."""
        return (self.until or now) - self.since


class History:
    """The events of one object, and what they add up to."""

    def __init__(self, events: Iterable[StockEvent]) -> None:
        self.events = tuple(events)

    def __iter__(self) -> Iterator[StockEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def spells(self) -> tuple[Spell | None, ...]:
        """Return, for each event, the spell that it began or fell into; None where it left."""
        ends: dict[str, datetime | None] = {}
        ahead: list[tuple[StockEvent, datetime | None]] = []
        for event in reversed(self.events):
            ahead.append((event, ends.get(event.field)))
            if event.restarts_spell:
                ends[event.field] = event.occurred_at
        return tuple(self._with_starts(reversed(ahead)))

    def _with_starts(
        self, events: Iterable[tuple[StockEvent, datetime | None]]
    ) -> Iterator[Spell | None]:
        starts: dict[str, datetime] = {}
        for event, until in events:
            if event.restarts_spell:
                starts[event.field] = event.occurred_at
            if event.target is None:
                yield None
            else:
                since = starts.get(event.field, event.occurred_at)
                yield Spell(event.field, event.target, since, until)

    def state(self, field: str, at: datetime | None = None) -> str | None:
        """Return the state of *field*, at the instant *at* or now; None for the outside."""
        state = None
        for event in self.events:
            if event.field == field and (at is None or event.occurred_at <= at):
                state = event.target
        return state

"""The ledger of an instance: what is pending, and what its row is known to hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stockflow.contexts import Circumstances
from stockflow.tables import Kind


@dataclass(slots=True)
class Pending:
    """One event to be, in the words of the instance."""

    field: str
    kind: Kind
    transition: str | None
    source: str | None
    target: str | None
    occurred_at: datetime
    facets: Mapping[str, Any]
    circumstances: Circumstances
    had_timer: bool = False
    decay: str | None = None
    """The decay that the new due instant belongs to, where the clock did not simply begin anew."""
    changes_due: bool = False

    @property
    def changes_state(self) -> bool:
        """Whether the row has another state after it, or has entered its own anew."""
        is_renamed = self.kind is Kind.RECLASSIFIED and self.source != self.target
        return self.kind is Kind.MOVED or is_renamed

    @property
    def sets_clock(self) -> bool:
        """Whether the field's decays are counted from it, or are due when it says."""
        return self.changes_state or self.changes_due or self.kind is Kind.ENTERED


@dataclass(slots=True)
class Batch:
    """Events of one save, kept until their transaction is known to be committed."""

    base: int | None
    events: list[Pending]
    loaded: dict[str, Any]

    @property
    def version(self) -> int:
        """The version that the row has with them."""
        return (self.base or 0) + len(self.events)

    @property
    def last_at(self) -> datetime:
        """When the row changed with them."""
        return max(event.occurred_at for event in self.events)


@dataclass(slots=True)
class Call:
    """A transition in progress; a reclassification has no name."""

    transition: str | None
    at: datetime
    circumstances: Circumstances
    recorded: bool = False


@dataclass(slots=True)
class Ledger:
    """Kept on an instance: what is pending, and what the row is known to hold."""

    pending: list[Pending] = field(default_factory=list)
    unconfirmed: list[Batch] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)
    delays: dict[str, Any] = field(default_factory=dict)
    """The values, as the row holds them, of the fields that say how long a state lasts."""
    calls: list[Call] = field(default_factory=list)
    decay: Call | None = None
    floor: datetime | None = None
    refreshing: bool = False
    work: Any = None

    def copy(self) -> "Ledger":
        """Return an independent one, as a copy or a pickle of the instance needs it."""
        pending, unconfirmed = list(self.pending), list(self.unconfirmed)
        return Ledger(pending, unconfirmed, dict(self.loaded), dict(self.delays), floor=self.floor)

    @property
    def changed_at(self) -> datetime | None:
        """When the row changed last if this instance did it and it may be rolled back."""
        return self.unconfirmed[-1].last_at if self.unconfirmed else None

    def confirm(self, batch: Batch) -> None:
        """Forget *batch*: its transaction is committed."""
        self.unconfirmed = [other for other in self.unconfirmed if other is not batch]

    def lost_since(self, version: int | None) -> list[Batch]:
        """Return the batches that a row at *version* (None: no row) shows to be rolled back."""
        for n, batch in enumerate(self.unconfirmed):
            if batch.base == version:
                return self.unconfirmed[n:]
        return []


def ledger_of(instance: Any) -> Ledger:
    """Return the instance's ledger, made when first needed."""
    known = instance.__dict__
    ledger: Ledger | None = known.get("_stock_ledger")
    if ledger is None:
        ledger = known["_stock_ledger"] = Ledger()
    return ledger


def is_refreshing(instance: Any) -> bool:
    """Whether the database, not a caller, is setting the instance's fields."""
    ledger: Ledger | None = instance.__dict__.get("_stock_ledger")
    return ledger is not None and ledger.refreshing


def note_loaded(instance: Any, columns: Iterable[str]) -> None:
    """Remember what the row holds in the facet *columns* that are loaded."""
    known = instance.__dict__
    ledger_of(instance).loaded.update({name: known[name] for name in columns if name in known})


def note_delays(instance: Any, columns: Iterable[str]) -> None:
    """Remember what the row holds in *columns*, which say how long a state lasts."""
    known = instance.__dict__
    ledger_of(instance).delays.update({name: known[name] for name in columns if name in known})


def remember(
    instance: Any,
    field: Any,
    kind: Kind,
    call: Call,
    source: str | None,
    target: str | None,
    *,
    had_timer: bool = False,
    decay: str | None = None,
    changes_due: bool = False,
) -> None:
    """Add an event to be written by the next save."""
    instance.stock_changed_at = call.at
    ledger_of(instance).pending.append(
        Pending(
            field.name,
            kind,
            call.transition,
            source,
            target,
            call.at,
            instance._facet_values(),
            call.circumstances,
            had_timer,
            decay,
            changes_due,
        )
    )

"""The domain events: what can happen to an object's stock membership.

Plain frozen classes, for ``eventsourcing``'s mapper: stored under topics that stay when a
class moves, with ``class_version`` and ``upcast_vN_vM`` as its upcasting seam.
"""

import dataclasses
from datetime import datetime, timedelta
from typing import Any, ClassVar

from eventsourcing.utils import register_topic

__all__ = [
    "Adopted",
    "Entered",
    "Erased",
    "Left",
    "Moved",
    "Reclassified",
    "Reconciled",
    "StockEvent",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StockEvent:
    """One recorded change of one object's membership in the stocks of one field.

    Attributes:
        originator_id: The object's lifecycle, as text.
        originator_version: 1 for the first event of the lifecycle.
        model: The model's label, such as ``"crm.lead"``.
        field: The stock field's name.
        transition: The method called; empty for creation, deletion and facet changes.
        source: The state left; None for the outside.
        target: The state entered; None for the outside.
        source_facets: The facet values of the cell left.
        target_facets: The facet values of the cell entered.
        occurred_at: When it was true. Aware, UTC.
        recorded_at: When the database wrote it. Aware, UTC.
        actor: Who did it.
        reason: Why.
        correlation: What ties events together.
        data: What else was told.
        due_at: Of a decay: when its timer was due. Aware, UTC.
        clock_version: Of a decay: the version of the event that set that timer.
    """

    TOPIC: ClassVar[str]
    kind: ClassVar[str]

    originator_id: str
    originator_version: int
    model: str
    field: str
    transition: str = ""
    source: str | None = None
    target: str | None = None
    source_facets: dict[str, Any] = dataclasses.field(default_factory=dict)
    target_facets: dict[str, Any] = dataclasses.field(default_factory=dict)
    occurred_at: datetime
    recorded_at: datetime
    actor: str = ""
    reason: str = ""
    correlation: str = ""
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    due_at: datetime | None = None
    clock_version: int | None = None

    @property
    def restarts_spell(self) -> bool:
        """Whether a new spell begins or the last one ends; false where the object stays as it is."""
        return self.kind not in {"reclassified", "erased"}

    @property
    def lag(self) -> timedelta:
        """How long after it was true it was recorded."""
        return self.recorded_at - self.occurred_at


class Entered(StockEvent):
    """The object was created, in a state."""

    TOPIC = "stockflow:entered"
    kind = "entered"


class Moved(StockEvent):
    """A transition was made."""

    TOPIC = "stockflow:moved"
    kind = "moved"


class Reclassified(StockEvent):
    """A facet changed, or a transition without target was called; the state stayed."""

    TOPIC = "stockflow:reclassified"
    kind = "reclassified"


class Left(StockEvent):
    """The object was deleted."""

    TOPIC = "stockflow:left"
    kind = "left"


class Adopted(StockEvent):
    """The object was there before its history began."""

    TOPIC = "stockflow:adopted"
    kind = "adopted"


class Reconciled(StockEvent):
    """The log was brought to what the row says: an adjustment, never a flow."""

    TOPIC = "stockflow:reconciled"
    kind = "reconciled"

    @property
    def restarts_spell(self) -> bool:
        return self.source != self.target


class Erased(StockEvent):
    """What the object's earlier events said of people was destroyed; the object stays where it is."""

    TOPIC = "stockflow:erased"
    kind = "erased"


EVENTS: tuple[type[StockEvent], ...] = (
    *(Entered, Moved, Reclassified, Left, Adopted, Reconciled),
    Erased,
)
TOPICS: dict[str, str] = {event.kind: event.TOPIC for event in EVENTS}

for event in EVENTS:
    register_topic(event.TOPIC, event)

"""The log read by position, as domain events."""

from typing import TYPE_CHECKING, Any

from django.db.models import OuterRef, Subquery
from eventsourcing.persistence import StoredEvent

from stockflow.eventstore.applications import StockLog
from stockflow.eventstore.states import stock_state
from stockflow.projections.folding import positions
from stockflow.projections.reads import Reads
from stockflow.tables import Event, Position

if TYPE_CHECKING:
    from stockflow.domain.events import StockEvent


def read(reads: Reads, after: int, until: int, *, using: str) -> "list[tuple[int, StockEvent]]":
    """Return the events after one position and up to another, each with its own."""
    chosen = positions(after, until, using=using).values("event")
    own = Position.objects.using(using).filter(event=OuterRef("pk")).values("position")
    log = Event._default_manager.using(using).filter(reads.condition(), pk__in=chosen)
    mapper: Any = StockLog(using=using).mapper
    found: Any = log.annotate(position=Subquery(own)).order_by("position")
    return [
        (
            row.position,
            mapper.to_domain_event(
                StoredEvent(row.originator, row.version, row.topic, stock_state(row))
            ),
        )
        for row in found
    ]

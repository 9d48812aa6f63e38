"""The log read by position, as domain events."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import OuterRef, Subquery
from eventsourcing.persistence import StoredEvent

from stockflow.eventstore.applications import StockLog
from stockflow.eventstore.states import stock_state
from stockflow.projections.folding import positions
from stockflow.projections.reads import Reads
from stockflow.tables import Event, Position

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.domain.events import StockEvent


_LOG = 'FROM "stockflow_event" WHERE'


def between(reads: Reads, after: int, until: int, *, using: str) -> "QuerySet[Event]":
    """Return the events that are read, after one position and up to another."""
    chosen = positions(after, until, using=using).values("event")
    log = Event._default_manager.using(using)
    return log.filter(reads.condition(), pk__in=chosen)


def compiled(log: "QuerySet[Any]") -> tuple[str, Sequence[Any]]:
    """Return the SQL of a queryset of the log, which finds its events by key.

    SQLite would read all events of a model for each batch: its other indexes are ruled out.
    """
    sql, values = log.query.get_compiler(log.db).as_sql()
    if connections[log.db].vendor == "sqlite":
        sql = sql.replace(_LOG, _LOG.replace(" WHERE", " NOT INDEXED WHERE"), 1)
    return sql, values


def read(reads: Reads, after: int, until: int, *, using: str) -> "list[tuple[int, StockEvent]]":
    """Return the events after one position and up to another, each with its own."""
    own = Position.objects.using(using).filter(event=OuterRef("pk")).values("position")
    log = between(reads, after, until, using=using).annotate(position=Subquery(own))
    mapper: Any = StockLog(using=using).mapper
    sql, values = compiled(log.order_by("position"))
    found: Any = Event._default_manager.using(using).raw(sql, values)
    return [
        (
            row.position,
            mapper.to_domain_event(
                StoredEvent(row.originator, row.version, row.topic, stock_state(row))
            ),
        )
        for row in found
    ]

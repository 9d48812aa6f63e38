"""The log as ``eventsourcing`` knows it: aggregates, applications, and stock events."""

from collections.abc import Sequence
from typing import Any, NoReturn
from uuid import UUID

from django.db import connections
from django.db.models import Max
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Notification,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from stockflow.eventstore.sequencer import catch_up, sequence
from stockflow.eventstore.states import stock_state
from stockflow.eventstore.stores import DjangoStore
from stockflow.eventstore.subscriptions import PollingSubscription
from stockflow.tables import STOCKFLOW, Event, Position, Snapshot


class DjangoAggregateRecorder(DjangoStore, AggregateRecorder):
    """Stores an application's events, or its snapshots, under its name."""

    def __init__(
        self,
        using: str,
        name: str,
        originator_type: type[UUID] | type[str] = UUID,
        table: type[Event] | type[Snapshot] = Event,
    ) -> None:
        super().__init__(using, name)
        self.originator_type = originator_type
        self.table = table

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        with self.writing():
            self._insert(stored_events, **kwargs)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[Any]:
        rows: list[Any] = [
            self.table(
                application=self.name,
                originator=str(event.originator_id),
                version=event.originator_version,
                topic=event.topic,
                payload=event.state,
            )
            for event in stored_events
        ]
        return list(self.table._default_manager.using(self.using).bulk_create(rows))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        rows = self.table._default_manager.using(self.using).filter(
            application=self.name, originator=str(originator_id)
        )
        if gt is not None:
            rows = rows.filter(version__gt=gt)
        if lte is not None:
            rows = rows.filter(version__lte=lte)
        rows = rows.order_by("-version" if desc else "version")
        with self.reading():
            return [
                StoredEvent(originator_id, row.version, row.topic, self._state(row))
                for row in (rows if limit is None else rows[:limit])
            ]

    def _state(self, row: Any) -> bytes:
        return bytes(row.payload)


class DjangoApplicationRecorder(DjangoAggregateRecorder, ApplicationRecorder):
    """Stores an application's events, and gives them in the order of their positions.

    An event is given once it has a position. Outside of a transaction these methods see to that
    first; inside one they give what has a position already.
    """

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Store *stored_events*, all or none.

        Returns:
            Their positions; None inside a transaction, where they have none yet.
        """
        is_nested = connections[self.using].in_atomic_block
        with self.writing():
            rows = self._insert(stored_events, **kwargs)
        return None if is_nested else self._positions(rows)

    def _positions(self, rows: Sequence[Event]) -> list[int]:
        if not rows:
            return []
        ids = [row.pk for row in rows]
        with self.reading():
            sequence(self.using, self.name)
            entries = Position.objects.using(self.using).filter(
                application=self.name, event__range=(ids[0], ids[-1])
            )
            positions = dict(entries.values_list("event", "position"))
        return [positions[event] for event in ids]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        tests, values = ["p.application = %s"], list[Any]([self.name])
        if start is not None:
            tests.append(f"p.position {'>=' if inclusive_of_start else '>'} %s")
            values.append(start)
        if stop is not None:
            tests.append("p.position <= %s")
            values.append(stop)
        return self._select(tests, values, limit, topics)

    def _select(
        self, tests: list[str], values: list[Any], limit: int, topics: Sequence[str]
    ) -> list[Notification]:
        if topics:
            tests.append(f"e.topic IN ({', '.join(['%s'] * len(topics))})")
            values += topics
        sql = (
            "SELECT e.*, p.position FROM stockflow_position p "
            f"JOIN stockflow_event e ON e.id = p.event WHERE {' AND '.join(tests)} "
            "ORDER BY p.position LIMIT %s"
        )
        with self.reading():
            catch_up(self.using, self.name)
            rows: Any = Event.objects.using(self.using).raw(sql, [*values, limit])
            return [self._notification(row) for row in rows]

    def _notification(self, row: Any) -> Notification:
        originator = self.originator_type(row.originator)
        return Notification(originator, row.version, row.topic, self._state(row), row.position)

    def max_notification_id(self) -> int | None:
        with self.reading():
            catch_up(self.using, self.name)
            positions = Position.objects.using(self.using).filter(application=self.name)
            last: int | None = positions.aggregate(last=Max("position"))["last"]
            return last

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        return PollingSubscription(self, gt=gt, topics=topics)


class StockRecorder(DjangoApplicationRecorder):
    """Reads stock events, composed from their columns. They are appended by ``save()`` only."""

    def __init__(self, using: str) -> None:
        super().__init__(using, STOCKFLOW, originator_type=str)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        raise ProgrammingError(
            "Stock events are appended by save(), together with their row: call a transition."
        )

    def _state(self, row: Any) -> bytes:
        return stock_state(row)

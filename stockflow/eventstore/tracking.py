"""How far a consumer has read, written in the transaction of what it made of the events."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from eventsourcing.persistence import (
    ProcessRecorder,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)

from stockflow.eventstore.recorders import DjangoApplicationRecorder
from stockflow.eventstore.stores import DjangoStore
from stockflow.tables import Event, TrackedPosition


class DjangoTrackingRecorder(DjangoStore, TrackingRecorder):
    """The base of a view: its methods write rows and :meth:`insert_tracking` in one transaction.

    ::

        class Counters(DjangoTrackingRecorder):
            def count(self, tracking: Tracking) -> None:
                with self.writing():
                    self.insert_tracking(tracking)
                    Counter.objects.using(self.using).update(value=F("value") + 1)
    """

    def insert_tracking(self, tracking: Tracking) -> None:
        with self.writing():
            known = self._tracked(tracking.application_name)
            moved = known.filter(position__lt=tracking.notification_id)
            if moved.update(position=tracking.notification_id):
                return
            # None there yet, or one that is as far: then this fails, and so must its transaction.
            TrackedPosition.objects.using(self.using).create(
                consumer=self.name,
                application=tracking.application_name,
                position=tracking.notification_id,
            )

    def max_tracking_id(self, application_name: str) -> int | None:
        with self.reading():
            tracked = self._tracked(application_name).first()
        return None if tracked is None else tracked.position

    def _tracked(self, application: str) -> "QuerySet[TrackedPosition]":
        rows = TrackedPosition.objects.using(self.using)
        return rows.filter(consumer=self.name, application=application)


class DjangoProcessRecorder(DjangoTrackingRecorder, DjangoApplicationRecorder, ProcessRecorder):
    """Records new events and what they were made from in one transaction."""

    def _insert(
        self, stored_events: Sequence[StoredEvent], tracking: Tracking | None = None, **kwargs: Any
    ) -> list[Event]:
        rows = super()._insert(stored_events, **kwargs)
        if tracking is not None:
            self.insert_tracking(tracking)
        return rows

"""What ``eventsourcing`` asks for recorders."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from eventsourcing.persistence import InfrastructureFactory, InfrastructureFactoryError
from eventsourcing.utils import resolve_topic

if TYPE_CHECKING:
    from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder, ProcessRecorder

    from stockflow.eventstore.tracking import DjangoTrackingRecorder

_TYPES: dict[str, type[UUID] | type[str]] = {"uuid": UUID, "text": str}


class Factory(InfrastructureFactory["DjangoTrackingRecorder"]):
    """Makes recorders on Django's tables, for an ``eventsourcing`` application of any name.

    Set ``PERSISTENCE_MODULE`` to ``stockflow.eventstore`` to use it. An application's events,
    recorded inside ``atomic()``, are part of the transaction. There ``save()`` returns no
    recordings, since an event has no position before it is committed. Each key may be prefixed
    with the application's name, as all of ``eventsourcing``'s:

    - ``DJANGO_DB_ALIAS``: the database (``default``);
    - ``ORIGINATOR_ID_TYPE``: ``uuid`` (the default) or ``text``, what notifications give.
    """

    DJANGO_DB_ALIAS = "DJANGO_DB_ALIAS"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"

    # The recorders need the app registry, this module must not: settings may name it.

    def aggregate_recorder(self, purpose: str = "events") -> "AggregateRecorder":
        from stockflow.eventstore.recorders import DjangoAggregateRecorder  # noqa: PLC0415
        from stockflow.tables import Event, Snapshot  # noqa: PLC0415

        table = Snapshot if purpose == "snapshots" else Event
        return DjangoAggregateRecorder(*self._arguments(), table=table)

    def application_recorder(self) -> "ApplicationRecorder":
        from stockflow.eventstore.recorders import DjangoApplicationRecorder  # noqa: PLC0415

        recorder: ApplicationRecorder = self._class(
            self.APPLICATION_RECORDER_TOPIC, DjangoApplicationRecorder
        )(*self._arguments())
        return recorder

    def tracking_recorder(
        self, tracking_recorder_class: "type[DjangoTrackingRecorder] | None" = None
    ) -> "DjangoTrackingRecorder":
        from stockflow.eventstore.tracking import DjangoTrackingRecorder  # noqa: PLC0415

        recorder: DjangoTrackingRecorder = (
            tracking_recorder_class
            or self._class(self.TRACKING_RECORDER_TOPIC, DjangoTrackingRecorder)
        )(self._using(), self.env.name)
        return recorder

    def process_recorder(self) -> "ProcessRecorder":
        from stockflow.eventstore.tracking import DjangoProcessRecorder  # noqa: PLC0415

        recorder: ProcessRecorder = self._class(self.PROCESS_RECORDER_TOPIC, DjangoProcessRecorder)(
            *self._arguments()
        )
        return recorder

    def _class(self, key: str, default: type[Any]) -> type[Any]:
        topic = self.env.get(key)
        return resolve_topic(topic) if topic else default

    def _using(self) -> str:
        return self.env.get(self.DJANGO_DB_ALIAS) or DEFAULT_DB_ALIAS

    def _arguments(self) -> tuple[str, str, type[UUID] | type[str]]:
        from stockflow.tables import STOCKFLOW  # noqa: PLC0415

        if self.env.name == STOCKFLOW:
            raise InfrastructureFactoryError(
                f"An application cannot be named {STOCKFLOW!r}: that is the log of stock events, "
                "which StockLog reads. Give yours another name."
            )
        name = self.env.get(self.ORIGINATOR_ID_TYPE, "uuid")
        if name not in _TYPES:
            raise InfrastructureFactoryError(
                f"{self.ORIGINATOR_ID_TYPE} must be 'uuid' or 'text', not {name!r}."
            )
        return self._using(), self.env.name, _TYPES[name]

"""The test cases that ``eventsourcing`` publishes for whoever writes recorders, run on ours.

The throughput cases are left out: they measure, and say nothing of what is right.
"""

from typing import Any
from uuid import UUID

from django.test import TransactionTestCase
from eventsourcing.persistence import AggregateRecorder, ProcessRecorder, Tracking
from eventsourcing.tests import persistence as contract
from eventsourcing.tests import projection
from eventsourcing.utils import Environment

from stockflow.eventstore import Factory
from stockflow.eventstore.recorders import DjangoAggregateRecorder, DjangoApplicationRecorder
from stockflow.eventstore.tracking import DjangoProcessRecorder, DjangoTrackingRecorder
from stockflow.tables import Snapshot
from tests.crm.models import Tag

LEFT_OUT: Any = None
ENV = {"PERSISTENCE_MODULE": "stockflow.eventstore"}


class Counters(DjangoTrackingRecorder, projection.EventCountersView):
    """A view that counts by adding rows."""

    def _count(self, name: str, tracking: Tracking) -> None:
        with self.writing():
            Tag.objects.using(self.using).create(name=name)
            self.insert_tracking(tracking)

    def get_created_event_counter(self) -> int:
        return Tag.objects.using(self.using).filter(name="created").count()

    def get_subsequent_event_counter(self) -> int:
        return Tag.objects.using(self.using).filter(name="subsequent").count()

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self._count("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self._count("subsequent", tracking)


class TestAggregateRecorder(TransactionTestCase, contract.AggregateRecorderTestCase):
    test_performance = LEFT_OUT

    def create_recorder(self) -> AggregateRecorder:
        return DjangoAggregateRecorder("default", "app")


class TestSnapshotRecorder(TestAggregateRecorder):
    def create_recorder(self) -> AggregateRecorder:
        return DjangoAggregateRecorder("default", "app", table=Snapshot)


class TestApplicationRecorder(TransactionTestCase, contract.ApplicationRecorderTestCase[Any]):
    test_performance = LEFT_OUT
    test_concurrent_throughput = LEFT_OUT

    def create_recorder(self) -> DjangoApplicationRecorder:
        return DjangoApplicationRecorder("default", "app")

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderOfTextIds(
    TransactionTestCase, contract.ApplicationRecorderTestCase[Any]
):
    test_performance = LEFT_OUT
    test_concurrent_throughput = LEFT_OUT
    test_concurrent_no_conflicts = LEFT_OUT

    def new_originator_id(self) -> str:
        return f"thing-{super().new_originator_id()}"

    def create_recorder(self) -> DjangoApplicationRecorder:
        return DjangoApplicationRecorder("default", "app", originator_type=str)


class TestNonInterleaving(TransactionTestCase, contract.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> DjangoApplicationRecorder:
        return DjangoApplicationRecorder("default", "app")


class TestTrackingRecorder(TransactionTestCase, contract.TrackingRecorderTestCase):
    def create_recorder(self) -> DjangoTrackingRecorder:
        return DjangoTrackingRecorder("default", "consumer")


class TestProcessRecorder(TransactionTestCase, contract.ProcessRecorderTestCase):
    test_performance = LEFT_OUT

    def create_recorder(self) -> ProcessRecorder:
        return DjangoProcessRecorder("default", "app")


class TestFactory(TransactionTestCase, contract.InfrastructureFactoryTestCase[Factory]):
    def setUp(self) -> None:
        self.env = Environment("app", dict(ENV))
        super().setUp()

    def expected_factory_class(self) -> type[Factory]:
        return Factory

    def expected_aggregate_recorder_class(self) -> type[DjangoAggregateRecorder]:
        return DjangoAggregateRecorder

    def expected_application_recorder_class(self) -> type[DjangoApplicationRecorder]:
        return DjangoApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[DjangoTrackingRecorder]:
        return DjangoTrackingRecorder

    def tracking_recorder_subclass(self) -> type[DjangoTrackingRecorder]:
        return Counters

    def expected_process_recorder_class(self) -> type[DjangoProcessRecorder]:
        return DjangoProcessRecorder


class TestView(TransactionTestCase, projection.EventCountersViewTestCase):
    def construct_event_counters_view(self) -> Counters:
        return Counters("default", "counters")


class TestProjection(TransactionTestCase, projection.AggregateEventCountersProjectionTestCase):
    view_class = Counters
    env = ENV


class TestEventSourcedProjection(TransactionTestCase, projection.EventSourcedProjectionTestCase):
    env = ENV


def test_ids_are_uuids_by_default() -> None:
    """A factory's recorder gives the ids of aggregates as they were given to it."""
    recorder: Any = Factory(Environment("app", dict(ENV))).application_recorder()

    assert recorder.originator_type is UUID

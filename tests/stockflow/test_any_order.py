"""Whatever is done, in any order, rows, log, timers and memory agree."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django_fsm import TransitionNotAllowed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stockflow import context
from stockflow.erasure import erase
from stockflow.errors import ConcurrentTransition
from stockflow.models import Event, ScheduledTransition
from stockflow.scheduling.decays import fire_due
from stockflow.testing import clock
from tests.crm.models import BigLead, Lead, Rep
from tests.stockflow.conftest import START
from tests.stockflow.reading import assert_linked, assert_whole, events_of, memory_of, row_of

MOVES = ["cool", "chill", "rekindle", "lose", "ping", "touch", "offer"]
NAMES = [
    ["note"],
    ["temperature"],
    ["channel"],
    ["stage"],
    ["owner", "budget"],
    ["stage", "channel"],
]
TICK = timedelta(microseconds=1)


class AnyOrder(RuleBasedStateMachine):
    """Several instances of few objects, used as carelessly as the law allows.

    A savepoint stands for an outer block: what is saved in it and rolled back must come
    again with the next save of the instance that wrote it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outer = transaction.atomic()
        self.outer.__enter__()
        self.clock = clock(START)
        self.time = self.clock.__enter__()
        self.instances: list[Any] = []
        self.blocks: list[Any] = []
        self.lifecycles: set[Any] = set()

    @initialize()
    def two_owners(self) -> None:
        self.reps = [Rep.objects.create(name=n, team=n) for n in ("north", "south")]
        self.create(None)

    def _pick(self, number: int) -> Any:
        return self.instances[number % len(self.instances)]

    def _save(self, instance: Any, names: list[str] | None = None) -> None:
        known = {field.name for field in instance._meta.concrete_fields}
        try:
            with transaction.atomic():
                instance.save(update_fields=names and [name for name in names if name in known])
        except ConcurrentTransition:
            self.instances.remove(instance)
            return
        except DatabaseError:
            # A row to update that was rolled back, which save() inserts; or, where SQLite gave
            # the key of a rolled-back row to another object, an insertion that cannot be.
            if names is None:
                self.instances.remove(instance)
            return
        self.lifecycles.add(instance.stock_lifecycle)
        if names is None and row_of(instance)["stock_version"] == instance.stock_version:
            assert memory_of(instance) == row_of(instance)

    @rule(number=st.none() | st.integers(0, 1))
    def create(self, number: int | None) -> None:
        self.time.advance(TICK)
        lead = BigLead(owner=None if number is None else self.reps[number])
        self.instances.append(lead)
        self._save(lead)

    @rule(number=st.integers(0, 9), as_parent=st.booleans())
    def load_another_instance(self, number: int, as_parent: bool) -> None:
        model = Lead if as_parent else BigLead
        found = list(model.objects.order_by("pk"))
        if found:
            self.instances.append(found[number % len(found)])

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), names=st.sampled_from(["channel", "note", "temperature"]))
    def load_a_deferred_instance(self, number: int, names: str) -> None:
        found = list(BigLead.objects.defer(names).order_by("pk"))
        if found:
            self.instances.append(found[number % len(found)])

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), name=st.sampled_from(MOVES), days=st.integers(0, 9))
    def move(self, number: int, name: str, days: int) -> None:
        self.time.advance(timedelta(days=days) + TICK)
        instance = self._pick(number)
        with (
            suppress(TransitionNotAllowed, AttributeError, Lead.DoesNotExist),
            context(actor="ada"),
        ):
            getattr(instance, name)()

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), days=st.integers(0, 20))
    def move_in_the_past(self, number: int, days: int) -> None:
        self.time.advance(TICK)
        with (
            suppress(ValueError, Lead.DoesNotExist),
            context(at=self.time.at - timedelta(days=days)),
        ):
            self._pick(number).lose("past")

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), channel=st.sampled_from(["web", "phone"]))
    def change_an_own_facet(self, number: int, channel: str) -> None:
        self._pick(number).channel = channel

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), rep=st.integers(0, 1))
    def change_a_foreign_key(self, number: int, rep: int) -> None:
        self._pick(number).owner = self.reps[rep]

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9), names=st.none() | st.sampled_from(NAMES))
    def save(self, number: int, names: list[str] | None) -> None:
        self.time.advance(TICK)
        self._save(self._pick(number), names)

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9))
    def refresh(self, number: int) -> None:
        with suppress(Lead.DoesNotExist):
            self._pick(number).refresh_from_db()

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        self.time.advance(TICK)
        instance = self._pick(number)
        with suppress(Lead.DoesNotExist):  # a child's parent, when loaded too late
            if instance.pk is not None:
                instance.delete()
        self.instances.remove(instance)

    @precondition(lambda self: self.lifecycles)
    @rule(number=st.integers(0, 9))
    def erase(self, number: int) -> None:
        self.time.advance(TICK)
        logged = sorted({*Event.objects.values_list("originator", flat=True)})
        if logged:
            lifecycle = logged[number % len(logged)]
            erase(lifecycle)
            assert {e.actor for e in events_of(lifecycle)} <= {"", "stockflow.schedule"}

    @precondition(lambda self: self.instances)
    @rule(number=st.integers(0, 9))
    def copy(self, number: int) -> None:
        self.time.advance(TICK)
        instance = self._pick(number)
        if instance.get_deferred_fields() or type(instance) is not BigLead:
            return
        instance.pk = instance.id = None
        instance._state.adding = True
        self._save(instance)

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        block = transaction.atomic()
        block.__enter__()
        self.blocks.append(block)

    @precondition(lambda self: self.blocks)
    @rule(is_kept=st.booleans())
    def end(self, is_kept: bool) -> None:
        transaction.set_rollback(not is_kept)
        self.blocks.pop().__exit__(None, None, None)

    @rule(days=st.integers(0, 60))
    def run_the_schedule(self, days: int) -> None:
        self.time.advance(timedelta(days=days) + TICK)
        for chunk in fire_due(chunk_size=2):
            assert not chunk.failures

    @invariant()
    def every_row_agrees_with_its_log_and_timers(self) -> None:
        for lead in (*BigLead.objects.all(), *Lead.objects.filter(biglead=None)):
            assert_whole(lead)

    @invariant()
    def every_log_that_ended_has_left_and_no_timer(self) -> None:
        alive = set(Lead.objects.values_list("stock_lifecycle", flat=True))
        for lifecycle in self.lifecycles - alive:
            log = events_of(lifecycle)
            assert [event.version for event in log] == list(range(1, len(log) + 1))
            for field in {event.field for event in log}:
                own = [event for event in log if event.field == field]
                assert_linked(own)
                assert own[-1].target is None
        timed = set(ScheduledTransition.objects.values_list("lifecycle", flat=True))
        assert timed <= alive

    @invariant()
    def the_log_knows_no_strangers(self) -> None:
        known = {str(lifecycle) for lifecycle in self.lifecycles}
        assert set(Event.objects.values_list("originator", flat=True)) <= known

    def teardown(self) -> None:
        while self.blocks:
            self.end(is_kept=False)
        transaction.set_rollback(True)
        self.outer.__exit__(None, None, None)
        self.clock.__exit__(None, None, None)


@pytest.mark.long
@pytest.mark.django_db
class TestAnyOrder(AnyOrder.TestCase):  # type: ignore[misc, valid-type]
    """A hundred careless histories."""

    settings = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

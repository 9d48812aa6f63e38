"""Event callables: called after the commit, at least once, in order; parked; never by a replay."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, connections, transaction

from stockflow.errors import InvalidDeclaration
from stockflow.eventstore import sequencer
from stockflow.models import Event
from stockflow.projections import EventCallable, Flow, Stock, calling
from stockflow.projections.calling import begin, run_event_callables
from stockflow.projections.event_calls import CallCheckpoint, EventCall
from stockflow.projections.registry import Registry
from stockflow.projections.runner import project, rebuild
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import Clock, clock, sequence
from tests.crm.models import BigLead, Lead
from tests.projections.locking import elsewhere

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(NOW) as time:
        yield time


class Heard:
    """What a callable was called with, and which objects it fails for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.broken: set[Any] = set()

    def note(self, lead: Any, source: Any, sink: Any, event: Any) -> None:
        key = event.originator if lead is None else lead.pk
        if key in self.broken:
            raise ValueError("no flowers")
        self.calls.append((key, source, sink, event.version))

    @property
    def keys(self) -> list[Any]:
        return [call[0] for call in self.calls]


@pytest.fixture(name="heard")
def _heard() -> Heard:
    return Heard()


@pytest.fixture(name="hot")
def _hot() -> Stock:
    return Stock("hot", Lead.temperature, states=["hot"])


def moving(hot: Stock, *callables: Any, **options: Any) -> Flow:
    """Return the flow of all that comes to be hot, and goes from there."""
    flow = Flow(
        "moving",
        sources=[None, hot, "warm"],
        sinks=[hot, "warm", "lost", None],
        event_callables=callables,
        **options,
    )
    begin("default")
    return flow


def run() -> list[calling.Called]:
    """Sequence and call, as the schedule does."""
    if connection.in_atomic_block:
        sequence()
    return run_event_callables()


@pytest.mark.django_db
def test_it_is_given_what_led_where(hot: Stock, heard: Heard) -> None:
    """The object, the first source and sink of the flow, and the event."""
    moving(hot, heard.note)
    lead = Lead.objects.create()
    lead.cool()
    lead.save()
    run()
    run()

    assert heard.calls == [(lead.pk, None, hot, 1), (lead.pk, hot, "warm", 2)]
    assert not EventCall.objects.exists()


@pytest.mark.django_db
def test_what_took_three_still_does(hot: Stock) -> None:
    """As the ancestor's callables did."""
    told: list[Any] = []
    moving(hot, lambda lead, source, sink: told.append((lead.pk, source, sink)))
    lead = Lead.objects.create()
    run()

    assert told == [(lead.pk, None, hot)]


@pytest.mark.django_db
def test_an_object_that_is_gone_is_none(hot: Stock, heard: Heard) -> None:
    """The event is told all the same."""
    moving(hot, heard.note)
    lead = Lead.objects.create()
    lifecycle = str(lead.stock_lifecycle)
    lead.delete()
    run()

    assert heard.calls == [(lifecycle, None, hot, 1), (lifecycle, hot, None, 2)]


@pytest.mark.django_db
def test_it_begins_with_what_comes_after(hot: Stock, heard: Heard) -> None:
    """No letter is sent for what happened before it was declared."""
    Lead.objects.create()
    sequence()
    moving(hot, heard.note)
    run()
    before = list(heard.keys)
    lead = Lead.objects.create()
    run()

    assert (before, heard.keys) == ([], [lead.pk])


@pytest.mark.django_db
def test_migrate_lets_it_begin(hot: Stock, heard: Heard) -> None:
    """So that nothing is missed between the deployment and the first run of the schedule."""
    Flow("in", sources=[None], sinks=[hot], event_callables=[heard.note])
    emit_post_migrate_signal(0, False, "default")

    assert CallCheckpoint.objects.get().flow == "in"


@pytest.mark.django_db(transaction=True)
def test_what_was_committed_before_it_began_is_not_told(hot: Stock, heard: Heard) -> None:
    """Though it has no position yet."""
    Lead.objects.create()
    moving(hot, heard.note)

    assert run_event_callables() == []


@pytest.mark.django_db
def test_nothing_begins_before_there_are_tables(
    hot: Stock, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where migrate goes back to before them."""
    monkeypatch.setattr(connection.introspection, "table_names", lambda *args, **options: [])
    moving(hot, heard.note)

    assert not CallCheckpoint.objects.exists()


@pytest.mark.django_db(databases=["default", "other"])
def test_each_database_calls_its_own(hot: Stock, heard: Heard) -> None:
    """A flow of another one is left alone."""
    moving(hot, heard.note)
    begin("other")

    assert CallCheckpoint.objects.count() == 1
    assert not CallCheckpoint.objects.using("other").exists()


@pytest.mark.django_db
def test_workers_that_looked_at_once(
    hot: Stock, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them enlists the events, the other finds that it was late."""
    moving(hot, heard.note)
    late = CallCheckpoint.objects.get()
    Lead.objects.create()
    run()
    real = calling._checkpoint
    seen = iter([late])
    monkeypatch.setattr(calling, "_checkpoint", lambda *asked: next(seen, None) or real(*asked))
    done = run()

    assert (done, len(heard.keys)) == ([], 1)
    assert next(seen, None) is None  # it was late


@pytest.mark.django_db(transaction=True)
def test_what_was_committed_late_has_its_place(
    hot: Stock, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id lies among those of a batch, its position after it."""
    if connection.vendor != "postgresql":
        pytest.skip("there one writes at a time")
    monkeypatch.setattr(calling, "BATCH", 2)
    moving(hot, heard.note)
    first = Lead.objects.create()
    with transaction.atomic():
        late = Lead.objects.create()
        other = elsewhere(lambda: (Lead.objects.create().pk, sequencer.sequence())[0])
    run()

    assert heard.keys == [first.pk, other, late.pk]


@pytest.mark.django_db
def test_an_inline_one_is_not_called_again(hot: Stock, heard: Heard) -> None:
    """The schedule leaves it to who writes the event."""
    moving(hot, EventCallable(heard.note, inline=True))
    lead = Lead.objects.create()

    assert run() == []
    assert heard.keys == [lead.pk]


@pytest.mark.django_db
def test_a_call_is_counted_before_it_is_made(hot: Stock) -> None:
    """Where no row is locked, the second of two writers gives up there, and calls nothing."""
    told: list[int] = []

    def count(lead: Lead, source: Any, sink: Any, event: Event) -> None:
        told.append(EventCall.objects.get(event=event.pk).attempts)

    moving(hot, count)
    Lead.objects.create()
    run()

    assert told == [1]


@pytest.mark.django_db(transaction=True)
def test_a_call_that_another_makes_is_passed_by(hot: Stock, heard: Heard) -> None:
    """No worker waits for another's call, nor makes it."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("there a call is the only writer")
    others: list[object] = []

    def note(lead: Lead, source: Any, sink: Any, event: Event) -> None:
        if not heard.calls:
            heard.note(lead, source, sink, event)
            others.append(elsewhere(lambda: len(run_event_callables())))
        else:
            heard.note(lead, source, sink, event)

    moving(hot, note)
    leads = [Lead.objects.create() for _ in range(3)]
    run_event_callables()

    assert others == [2]
    assert heard.keys == [lead.pk for lead in leads]


@pytest.mark.django_db
def test_one_that_fails_is_tried_again_and_then_parked(
    hot: Stock, heard: Heard, time: Clock
) -> None:
    """Ever more seldom; each time the error is kept."""
    moving(hot, heard.note)
    lead = Lead.objects.create()
    heard.broken = {lead.pk}
    tries = []
    for _ in range(6):
        tries.append(len(run()))
        time.advance(4**5 * MINUTE)
    call = EventCall.objects.get()

    assert tries == [1, 1, 1, 1, 1, 0]
    assert (call.attempts, call.error, call.parked_at is None) == (
        5,
        "ValueError: no flowers",
        False,
    )


@pytest.mark.django_db
def test_it_is_not_tried_before_its_time(hot: Stock, heard: Heard, time: Clock) -> None:
    """A minute later, then four."""
    moving(hot, heard.note)
    heard.broken = {Lead.objects.create().pk}
    tries = []
    for wait in (0, 0.5, 0.5, 3.5, 0.5):
        time.advance(wait * MINUTE)
        tries.append(len(run()))

    assert tries == [1, 0, 1, 0, 1]


@pytest.mark.django_db
def test_a_poisoned_one_holds_up_its_own_object_only(hot: Stock, heard: Heard, time: Clock) -> None:
    """Its later events wait for it, in order, until it is released and done."""
    moving(hot, heard.note)
    poisoned, other = Lead.objects.create(), Lead.objects.create()
    heard.broken = {poisoned.pk}
    for _ in range(5):
        run()
        time.advance(4**5 * MINUTE)
    for lead in (poisoned, other):
        lead.cool()
        lead.save()
    run()
    held = list(heard.calls)
    heard.broken = set()
    run()
    still = list(heard.calls)
    released = calling.release(EventCall.objects.all())
    run()

    assert held == still == [(other.pk, None, hot, 1), (other.pk, hot, "warm", 2)]
    assert released == 1
    assert heard.calls[2:] == [(poisoned.pk, None, hot, 1), (poisoned.pk, hot, "warm", 2)]


@pytest.mark.django_db
def test_what_a_failing_one_wrote_is_undone(hot: Stock) -> None:
    """It is called in a transaction of its own."""

    def write(lead: Lead, source: Any, sink: Any, event: Event) -> None:
        lead.note = "written"
        lead.save()
        raise ValueError("after all")

    moving(hot, write)
    lead = Lead.objects.create()
    (called,) = run()
    lead.refresh_from_db()

    assert (called.error, lead.note) == ("ValueError: after all", "")


@pytest.mark.django_db
def test_a_replay_never_calls(hot: Stock, heard: Heard) -> None:
    """Nor does folding: the letters were sent once."""
    moving(hot, heard.note)
    Lead.objects.create()
    run()
    list(project())
    list(rebuild())
    run()

    assert len(heard.calls) == 1


@pytest.mark.django_db
def test_each_callable_has_its_own_checkpoint(hot: Stock, heard: Heard) -> None:
    """One that comes later begins later; one that fails holds up no other."""
    late = Heard()
    first = EventCallable(heard.note, name="first")
    flow = moving(hot, first)
    early = Lead.objects.create()
    run()
    flow.event_callables = (first, EventCallable(late.note, name="second"))
    run()
    lead = Lead.objects.create()
    heard.broken = {lead.pk}
    run()

    assert (heard.keys, late.keys) == ([early.pk], [lead.pk])


@pytest.mark.django_db
def test_batches_of_the_log_agree(
    hot: Stock, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many positions are looked through at once."""
    monkeypatch.setattr(calling, "BATCH", 2)
    moving(hot, heard.note)
    leads = [Lead.objects.create() for _ in range(5)]
    run()

    assert heard.keys == [lead.pk for lead in leads]


@pytest.mark.django_db
def test_other_flows_and_fields_are_not_told(hot: Stock, heard: Heard) -> None:
    """Only events of the flow; those of children are of their parent's too."""
    Flow("in", sources=[None], sinks=[hot], event_callables=[heard.note])
    begin("default")
    lead = BigLead.objects.create()
    lead.offer()
    lead.cool()
    lead.save()
    run()

    assert heard.keys == [lead.pk]


@pytest.mark.django_db
def test_one_that_was_interrupted_is_called_again(hot: Stock, heard: Heard) -> None:
    """What ends the process is no error of the call."""

    def stop(lead: Lead, source: Any, sink: Any, event: Event) -> None:
        raise KeyboardInterrupt

    flow = moving(hot, EventCallable(stop, name="one"))
    lead = Lead.objects.create()
    sequence()
    with pytest.raises(KeyboardInterrupt):
        run_event_callables()
    flow.event_callables = (EventCallable(heard.note, name="one"),)
    run()

    assert heard.keys == [lead.pk]


@pytest.mark.django_db(transaction=True)
def test_the_schedule_calls(hot: Stock, heard: Heard) -> None:
    """Every minute, after the commit; its run says how many."""
    moving(hot, heard.note)
    with transaction.atomic():
        lead = Lead.objects.create()
        inside = list(heard.calls)
    found = {run.name: run for run in run_jobs()}

    assert (inside, heard.keys) == ([], [lead.pk])
    assert found["stockflow.call"].result == "1 calls, 0 failed"


@pytest.mark.django_db(transaction=True)
def test_it_can_be_called_at_the_commit(hot: Stock, heard: Heard) -> None:
    """Where a minute is too long."""
    moving(hot, heard.note)
    with transaction.atomic():
        lead = Lead.objects.create()
        transaction.on_commit(run_event_callables)

    assert heard.keys == [lead.pk]


@pytest.mark.django_db(transaction=True)
def test_two_workers_call_each_once(hot: Stock, declared: Registry) -> None:
    """A lock on the call lets the other one take the next."""
    heard, lock = list[int](), threading.Lock()

    def note(lead: Lead, source: Any, sink: Any, event: Event) -> None:
        with lock:
            heard.append(event.id)

    moving(hot, EventCallable(note, name="note"))
    for _ in range(10):
        lead = Lead.objects.create()
        lead.cool()
        lead.save()

    def work() -> None:
        try:
            run_event_callables()
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    run_event_callables()

    assert len(heard) == 20
    assert set(heard) == set(Event.objects.values_list("id", flat=True))
    assert not EventCall.objects.exists()


@pytest.mark.django_db
def test_what_is_released_begins_anew(hot: Stock, heard: Heard, time: Clock) -> None:
    """At once, with all its tries; what waits for its time is not parked, and goes on waiting."""
    moving(hot, heard.note)
    leads = [Lead.objects.create() for _ in range(2)]
    heard.broken = {lead.pk for lead in leads}
    run()
    parked, _ = EventCall.objects.order_by("position")
    EventCall.objects.filter(pk=parked.pk).update(parked_at=time.at)
    released = calling.release(EventCall.objects.all())
    values = EventCall.objects.order_by("position").values_list(
        "attempts", "error", "parked_at", "retry_at"
    )

    assert released == 1
    assert list(values) == [
        (0, "", None, None),
        (1, "ValueError: no flowers", None, time.at + MINUTE),
    ]


def calls(*args: Any) -> str:
    """Call the subcommand; what it said."""
    out = StringIO()
    call_command("stockflow", "calls", *args, stdout=out, no_color=True)
    return out.getvalue()


@pytest.mark.django_db
def test_what_waits_is_shown_and_released(hot: Stock, heard: Heard, time: Clock) -> None:
    """With its error, and by command."""
    moving(hot, EventCallable(heard.note, name="note"))
    nothing = calls()
    lead = Lead.objects.create()
    heard.broken = {lead.pk}
    for _ in range(5):
        run()
        time.advance(4**5 * MINUTE)
    lead.cool()
    lead.save()
    run()
    titles, _, row, parked = calls().splitlines()
    others = calls("--release", "--flow", "other")
    released = calls("--release", "--flow", "moving", "--name", "note")

    assert nothing == "Nothing waits to be called.\n"
    assert titles.split() == ["flow", "callable", "waiting", "parked"]
    assert row.split() == ["moving", "note", "1", "1"]
    assert parked.startswith("parked: note of moving with event ")
    assert parked.endswith(f"of {lead.stock_lifecycle}: ValueError: no flowers")
    assert (others, released) == ("Released 0 calls.\n", "Released 1 calls.\n")


@pytest.mark.parametrize(
    ("callables", "message"),
    [
        pytest.param([lambda lead: None], "cannot be called with an object, source", id="one"),
        pytest.param([3], "cannot be called", id="number"),
        pytest.param(
            [partial(Heard.note, Heard())], "has no name to keep its progress under", id="nameless"
        ),
        pytest.param([print, print], "two event callables 'builtins.print'", id="twice"),
    ],
)
def test_what_cannot_be_called_is_refused(hot: Stock, callables: Any, message: str) -> None:
    """Where it is declared."""
    with pytest.raises(InvalidDeclaration, match=message):
        Flow("f", sources=[None], sinks=[hot], event_callables=callables)

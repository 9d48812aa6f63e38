"""A decay that fails holds up no other: whatever fails, and whenever it shows."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django_fsm.signals import pre_transition

from stockflow.bodies import may_fail
from stockflow.models import PeriodicRun, ScheduledTransition
from stockflow.projections.attempts import is_of_the_database
from stockflow.scheduling import register
from stockflow.scheduling.decays import fire_due
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import Clock, run_due
from tests.crm.models import Chain, Fading, Lamp, Lead, Rep, Trial
from tests.stockflow.reading import assert_whole, timers_of, trail

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@contextmanager
def failing(one: Any, name: str, act: Callable[[Any], object]) -> Iterator[None]:
    """Do *act* whenever the transition *name* of the object *one* is called."""

    def told(instance: Any, **options: Any) -> None:
        if (instance.pk, options["name"]) == (one.pk, name):
            act(instance)

    pre_transition.connect(told, sender=type(one))
    try:
        yield
    finally:
        pre_transition.disconnect(told, sender=type(one))


def tried(time: Clock, times: int = 5) -> list[tuple[int, int]]:
    """Run the schedule so often, far apart; how many decays happened and how many failed."""
    counts = []
    for _ in range(times):
        chunks = list(fire_due())
        counts.append((sum(c.fired for c in chunks), sum(len(c.failures) for c in chunks)))
        time.advance(2 * HOUR)
    return counts


def break_a_constraint(_: Any) -> None:
    """Write what the database looks at when all is committed."""
    Rep.objects.create(name="orphan", manager_id=999_999)


def test_what_only_the_commit_refuses(time: Clock) -> None:
    """It is tried again and parked like any other, and what it wrote is not there."""
    bad, *good = (Chain.objects.create() for _ in range(4))
    time.advance(DAY)
    with failing(bad, "advance", break_a_constraint):
        counts = tried(time)

    assert counts == [(3, 1), (0, 1), (0, 1), (0, 1), (0, 1)]
    assert [trail(each)[1:] for each in (bad, *good)] == [[], *[["moved a>b"]] * 3]
    timer = timers_of(bad)["state"]
    assert (timer.attempts, timer.parked_at is None) == (5, False)
    assert timer.error.startswith("IntegrityError: ")
    assert not Rep.objects.exists()
    for each in (bad, *good):
        each.refresh_from_db()
        assert_whole(each)


def test_a_chain_whose_second_decay_the_commit_refuses(time: Clock) -> None:
    """The first one happens, and so does the whole chain of another object, in the same run."""
    bad, good = Fading.objects.create(), Fading.objects.create()
    time.advance(7 * DAY)
    with failing(bad, "wither", break_a_constraint):
        counts = tried(time, 1)

    assert counts == [(4, 1)]
    assert trail(bad)[1:] == ["moved fresh>stale"]
    assert trail(good)[1:] == ["moved fresh>stale", "moved stale>old", "moved old>gone"]
    assert timers_of(bad)["state"].transition == "wither"


def test_an_object_that_cannot_be_loaded(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row holds what its class refuses: that is its own failure."""
    bad, *good = (Chain.objects.create() for _ in range(4))
    real = Chain.from_db.__func__  # type: ignore[attr-defined]

    def from_db(cls: Any, *values: Any, **options: Any) -> Any:
        row = real(cls, *values, **options)
        if row.pk == bad.pk:
            raise ValueError("no such member")
        return row

    time.advance(DAY)
    with monkeypatch.context() as patched:
        patched.setattr(Chain, "from_db", classmethod(from_db))
        counts = tried(time)

    assert counts == [(3, 1), (0, 1), (0, 1), (0, 1), (0, 1)]
    assert [trail(each)[1:] for each in (bad, *good)] == [[], *[["moved a>b"]] * 3]
    timer = timers_of(bad)["state"]
    assert (timer.attempts, timer.error) == (5, "ValueError: no such member")
    assert timer.parked_at is not None


@pytest.mark.usefixtures("jobs")
def test_a_hook_that_fails_after_the_commit(time: Clock) -> None:
    """Its decay has happened; the others' hooks run, and the command says what failed."""
    bad, *good = (Chain.objects.create() for _ in range(4))
    ran: list[int] = []

    def hook(instance: Chain) -> None:
        if instance.pk == bad.pk:
            raise ValueError("no mail")
        ran.append(instance.pk)

    def told(instance: Chain, **_: Any) -> None:
        transaction.on_commit(lambda: hook(instance))

    time.advance(DAY)
    pre_transition.connect(told, sender=Chain)
    try:
        with pytest.raises(CommandError) as failed:
            call_command("run_periodic_schedule", verbosity=0)
    finally:
        pre_transition.disconnect(told, sender=Chain)

    assert ran == [each.pk for each in good]
    assert str(failed.value) == (
        "1 of the hooks of on_commit failed, and will not run again:\n"
        "  test_a_hook_that_fails_after_the_commit.<locals>.told.<locals>.<lambda>: "
        "ValueError: no mail"
    )
    for each in (bad, *good):
        assert trail(each)[1:] == ["moved a>b"]
        assert timers_of(each) == {}


def test_run_due_tells_of_a_hook_that_fails(time: Clock) -> None:
    """As it tells of a decay that fails."""
    bad = Chain.objects.create()

    def hook() -> None:
        raise ValueError("no mail")

    time.advance(DAY)
    with (
        failing(bad, "advance", lambda _: transaction.on_commit(hook)),
        pytest.raises(AssertionError, match="ValueError: no mail"),
    ):
        run_due()

    assert trail(bad)[1:] == ["moved a>b"]


def test_a_hook_beside_a_decay_that_fails(time: Clock) -> None:
    """It is run once, though its decay was tried twice; inside another transaction it waits."""
    good = Chain.objects.create()
    Chain.objects.create(is_broken=True)
    ran: list[int] = []
    time.advance(DAY)
    with (
        failing(good, "advance", lambda one: transaction.on_commit(lambda: ran.append(one.pk))),
        transaction.atomic(),
    ):
        (chunk,) = fire_due()
        assert ran == []

    assert (chunk.fired, len(chunk.failures), ran) == (1, 1, [good.pk])


def test_what_a_method_asks_of_the_database_in_vain(time: Clock) -> None:
    """An error of the operational kind is its own where the connection works still."""
    bad, *good = (Chain.objects.create() for _ in range(4))

    def ask(_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    def wait(_: Any) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    time.advance(DAY)
    with failing(bad, "advance", ask):
        counts = tried(time, 2)
    with failing(bad, "advance", wait):
        counts += tried(time, 3)

    assert counts == [(3, 1), (0, 1), (0, 1), (0, 1), (0, 1)]
    assert [trail(each)[1:] for each in (bad, *good)] == [[], *[["moved a>b"]] * 3]
    timer = timers_of(bad)["state"]
    assert timer.error == "OperationalError: canceling statement due to lock timeout"
    assert timer.parked_at is not None


FAULTS = {
    "sqlite": [["PRAGMA query_only = 1", "DELETE FROM crm_chain"]],
    "postgresql": [  # a lock, a timeout, a deadlock
        [f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"]
        for code in ("55P03", "57014", "40P01")
    ],
}


def test_what_folding_would_wait_for(time: Clock) -> None:
    """It may be one method's at each try, so it is that one's failure, and the others happen."""
    bad, *good = (Chain.objects.create() for _ in range(3))
    raised: list[DatabaseError] = []
    faults = itertools.cycle(FAULTS[connection.vendor])

    def ask(_: Any) -> None:
        with connection.cursor() as cursor:
            try:
                for statement in next(faults):
                    cursor.execute(statement)
            except DatabaseError as error:
                raised.append(error)
                raise
            finally:
                if connection.vendor == "sqlite":
                    cursor.execute("PRAGMA query_only = 0")

    time.advance(DAY)
    with failing(bad, "advance", ask):
        counts = tried(time, 3)

    assert counts == [(2, 1), (0, 1), (0, 1)]
    assert [trail(each)[1:] for each in (bad, *good)] == [[], *[["moved a>b"]] * 2]
    assert {is_of_the_database(error) for error in raised} == {True}


class Mute(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise TypeError("no message")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(ValueError("a\0b"), r"ValueError: a\0b", id="a-nul"),
        pytest.param(Mute(), "Mute: it cannot say what is wrong.", id="no-message"),
    ],
)
def test_an_error_that_no_database_keeps(error: Exception, text: str, time: Clock) -> None:
    """It is kept in words, and the others happen."""
    bad, good = Chain.objects.create(), Chain.objects.create()

    def fail(_: Any) -> None:
        raise error

    time.advance(DAY)
    with failing(bad, "advance", fail):
        counts = tried(time, 1)

    assert counts == [(1, 1)]
    assert [trail(each)[1:] for each in (bad, good)] == [[], ["moved a>b"]]
    assert timers_of(bad)["state"].error == text


@pytest.mark.usefixtures("jobs")
def test_a_job_says_what_no_database_keeps() -> None:
    """Its result or error is kept in words, and the other jobs run."""

    def fail() -> None:
        raise ValueError("a\0b")

    register("daily", lambda: "a\0b\udcff", name="told")
    register("daily", fail, name="failed")
    register("daily", lambda: "good", name="good")
    runs = list(run_jobs())
    kept = PeriodicRun.objects.order_by("id").values_list("name", "result", "error")

    assert [name for name, _, _ in kept] == ["told", "failed", "good"]
    assert [result for _, result, _ in kept] == [r"a\0b\udcff", "", "good"]
    assert r"ValueError: a\0b" in kept[1][2]
    assert all(run.ended_at for run in runs)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        pytest.param(lambda one: (one.stop(), one.save()), "moved a>stopped", id="call"),
        pytest.param(lambda one: one.delete(), "left a>", id="delete"),
        pytest.param(lambda _: Chain.objects.all().delete(), "left a>", id="bulk-delete"),
        pytest.param(lambda _: Chain.objects.transition("stop"), "moved a>stopped", id="bulk"),
    ],
)
def test_a_parked_decay_holds_up_nobody_who_calls(
    time: Clock, act: Callable[[Any], object], kind: str
) -> None:
    """It waits for a person, and that is one."""
    one = Chain.objects.create(is_broken=True)
    time.advance(DAY)
    tried(time)
    one.refresh_from_db()
    act(one)

    assert trail(one) == ["entered >a", kind]
    assert timers_of(one) == {}


def refuse(_: Any) -> None:
    """Fail."""
    raise ValueError("no")


def test_a_parked_decay_whose_receiver_fails_holds_up_nobody_who_calls(time: Clock) -> None:
    """Its method is empty, but somebody is told of it, who raises each time."""
    lead = Lead.objects.create()
    time.advance(7 * DAY)
    with failing(lead, "cool", refuse):
        tried(time)
        lead.refresh_from_db()
        with pytest.raises(ValueError, match="no"):
            lead.cool()
        lead.lose()
        lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>lost"]


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        pytest.param(Lead, "cool", False, id="empty"),
        pytest.param(Lead, "win", True, id="body"),
        pytest.param(Trial, "drop", True, id="condition"),
    ],
)
def test_what_may_fail(model: type[Any], name: str, expected: bool) -> None:
    """Whatever runs what an application wrote."""
    assert may_fail(model, name) is expected


def test_the_effective_state_of_what_is_parked(time: Clock) -> None:
    """It stays where it is until a person decides, whatever is due by then."""
    one, other = (Chain.objects.create(is_broken=n == 0) for n in range(2))
    time.advance(DAY)
    before = one.effective_state()
    tried(time)
    one.refresh_from_db()
    other.refresh_from_db()

    assert (before, one.effective_state(), one.effective_state(at=time.at + 9 * DAY)) == (
        *("b", "a", "a"),
    )
    assert other.effective_state() == "b"


def test_a_parked_decay_can_be_put_off_or_cancelled(time: Clock) -> None:
    """Or, released, it is tried again before whatever is called."""
    late, never, again = (Chain.objects.create(is_broken=True) for _ in range(3))
    time.advance(DAY)
    tried(time)
    for one in (late, never, again):
        one.refresh_from_db()
    late.postpone_decay("advance", to=time.at + DAY)
    never.cancel_decay("advance")
    for one in (late, never):
        one.save()
        one.refresh_from_db()
        assert_whole(one)
    call_command("stockflow", "release")

    assert (late.state_due_at, never.state_due_at) == (time.at + DAY, None)
    with pytest.raises(ValueError, match="broken"):
        again.stop()


@pytest.mark.parametrize("label", ["crm.gone", "gone.gone", "crm.rep", "auth.user"])
def test_a_timer_of_a_model_without_stock_fields(label: str, time: Clock) -> None:
    """Its model is gone, or is there and has none any more: it is parked, and the others happen."""
    bad, other, good = Chain.objects.create(), Lamp.objects.create(), Lamp.objects.create()
    for each in (bad, other):
        timers = ScheduledTransition.objects.filter(lifecycle=each.stock_lifecycle)
        timers.update(model=label)
    time.advance(DAY)
    counts = tried(time)

    assert counts == [(1, 2), (0, 2), (0, 2), (0, 2), (0, 2)]
    assert trail(good)[1:] == ["moved on>off"]
    for timer in (timers_of(bad)["state"], timers_of(other)["phase"]):
        said = f"LookupError: There is no model {label!r} with stock fields any more."
        assert (timer.error, timer.parked_at is None) == (said, False)

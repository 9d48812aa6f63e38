"""A decay that fails holds up no other: whatever fails, and whenever it shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django_fsm.signals import pre_transition

from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock
from tests.crm.models import Chain, Fading, Rep
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

    def from_db(cls: Any, db: Any, names: Any, values: Any) -> Any:
        row = real(cls, db, names, values)
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

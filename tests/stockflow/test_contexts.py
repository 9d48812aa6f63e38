"""stockflow.context: who, why, when, and where it reaches."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction

from stockflow import context
from stockflow.contexts import current
from stockflow.domain.errors import InvalidContext, InvalidInstant, LateEntry
from stockflow.testing import Clock
from tests.crm.models import Lead, Order
from tests.stockflow.reading import assert_whole, events_of, last_event, micros, timers_of, trail


def test_outside_nothing_is_told() -> None:
    """Nobody, no reason."""
    assert (current().actor, current().reason, current().at) == ("", "", None)


def test_inner_blocks_speak_for_what_they_name() -> None:
    """The rest is the outer one's; data is merged."""
    with context(actor="a", reason="x", data={"k": 1, "l": 1}):
        with context(reason="y", data={"l": 2}, correlation="c"):
            inner = current()
        outer = current()

    assert (inner.actor, inner.reason, inner.correlation) == ("a", "y", "c")
    assert inner.data == '{"k": 1, "l": 2}'
    assert (outer.reason, outer.correlation) == ("x", "")
    assert current().actor == ""


def test_it_ends_with_an_error() -> None:
    """An error passes through and leaves nothing behind."""
    with pytest.raises(ValueError, match="no"), context(actor="a"):
        raise ValueError("no")

    assert current().actor == ""


def test_one_block_may_be_entered_again_inside_itself() -> None:
    """Like any reentrant context manager."""
    block = context(actor="a")
    with block, block:
        assert current().actor == "a"

    assert current().actor == ""


@context(actor="ada")
def _told() -> str:
    return current().actor


def test_it_decorates_a_function() -> None:
    """Each call is a block."""
    assert (_told(), current().actor, _told.__name__) == ("ada", "", "_told")


def test_it_decorates_a_coroutine_function() -> None:
    """The block lasts as long as the coroutine."""

    @context(actor="ada")
    async def told() -> str:
        await asyncio.sleep(0)
        return current().actor

    assert asyncio.run(told()) == "ada"
    assert asyncio.iscoroutinefunction(told)


def test_it_decorates_a_generator_function() -> None:
    """Between two steps the caller's own context rules."""

    @context(actor="ada")
    def told() -> Iterator[str]:
        received = yield current().actor
        try:
            yield f"{current().actor} {received}"
        except ValueError:
            yield f"{current().actor} caught"

    steps: Any = told()
    with context(actor="bo"):
        seen = [
            next(steps),
            current().actor,
            steps.send(1),
            current().actor,
            steps.throw(ValueError),
        ]

    assert seen == ["ada", "bo", "ada 1", "bo", "ada caught"]
    assert current().actor == ""


def test_a_decorated_generator_closes_what_it_wraps() -> None:
    """Its finally runs in the block, and its value comes through."""
    ended = []

    @context(actor="ada")
    def told() -> Iterator[int]:
        try:
            yield 1
        finally:
            ended.append(current().actor)

    steps = told()
    next(steps)
    steps.close()  # type: ignore[attr-defined]

    assert ended == ["ada"]


def test_it_decorates_an_async_generator_function() -> None:
    """As with the plain one."""

    @context(actor="ada")
    async def told() -> AsyncIterator[str]:
        yield current().actor
        await asyncio.sleep(0)
        yield current().actor

    async def main() -> list[str]:
        seen = []
        async for actor in told():
            seen += [actor, current().actor]
        return seen

    assert asyncio.run(main()) == ["ada", "", "ada", ""]


def test_a_new_thread_begins_with_nothing() -> None:
    """One request's actor is not another thread's."""
    seen = []
    with context(actor="ada"):
        thread = threading.Thread(target=lambda: seen.append(current().actor))
        thread.start()
        thread.join()

    assert seen == [""]


def test_a_decorated_function_in_several_threads() -> None:
    """Each call has a block of its own."""
    barrier, seen = threading.Barrier(4), []

    @context(actor="ada")
    def told() -> None:
        barrier.wait(5)
        seen.append(current().actor)

    threads = [threading.Thread(target=told) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == ["ada"] * 4


def test_it_reaches_through_sync_to_async() -> None:
    """What an async view says holds in the ORM's thread."""

    async def main() -> tuple[str, str]:
        with context(actor="ada"):
            return await sync_to_async(lambda: current().actor)(), current().actor

    assert asyncio.run(main()) == ("ada", "ada")


def test_two_tasks_do_not_see_each_other() -> None:
    """Concurrent tasks have contexts of their own."""

    async def task(actor: str) -> str:
        with context(actor=actor):
            await asyncio.sleep(0.01)
            return current().actor

    async def main() -> list[str]:
        return list(await asyncio.gather(task("ada"), task("bo")))

    assert asyncio.run(main()) == ["ada", "bo"]


@pytest.mark.django_db
def test_it_is_captured_when_the_transition_is_called() -> None:
    """Not when it is saved."""
    lead = Lead.objects.create()
    with context(actor="ada", reason="signed", data={"n": 1}, correlation="r1"):
        lead.cool()
    with context(actor="bo"):
        lead.save()
    event = last_event(lead)

    assert (event.actor, event.reason, event.correlation) == ("ada", "signed", "r1")
    assert lead.stock_history()[-1].data == {"n": 1}


@pytest.mark.django_db
def test_creation_and_reclassification_take_it_at_the_save() -> None:
    """No method is called, so the save speaks."""
    with context(actor="ada"):
        lead = Lead.objects.create()
    lead.channel = "phone"
    with context(reason="moved house"):
        lead.save()

    assert [(e.actor, e.reason) for e in events_of(lead.stock_lifecycle)] == [
        ("ada", ""),
        ("", "moved house"),
    ]


@pytest.mark.django_db
def test_a_user_is_kept_by_label_and_key() -> None:
    """So that he is found again, whatever his name becomes."""
    user = User.objects.create(username="ada")
    with context(actor=user):
        assert current().actor == f"auth.user:{user.pk}"
    with context(actor=AnonymousUser()):  # type: ignore[arg-type]
        assert current().actor == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"actor": User()}, "must be a saved model instance or a text", id="unsaved"),
        pytest.param({"actor": 5}, "must be a saved model instance or a text, not 5", id="number"),
        pytest.param({"data": [1]}, "must be a mapping", id="list"),
        pytest.param({"data": {"stockflow.schedule": 1}}, "cannot have the name", id="reserved"),
        pytest.param({"data": {"a": object()}}, "cannot be kept as JSON", id="object"),
        pytest.param({"data": {"a": float("nan")}}, "cannot be kept as JSON", id="nan"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any], message: str) -> None:
    """At once, where it is written."""
    with pytest.raises(InvalidContext, match=message):
        context(**options)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        pytest.param(datetime(2026, 1, 1), "must be timezone-aware", id="naive"),
        pytest.param(date(2026, 1, 1), "a date is not an instant", id="date"),
        pytest.param("2026-01-01", "must be a timezone-aware datetime", id="text"),
    ],
)
def test_at_is_an_aware_instant(at: Any, message: str) -> None:
    """Anything else is refused with what to give."""
    with pytest.raises(InvalidInstant, match=message):
        context(at=at)


@pytest.mark.django_db
def test_at_dates_what_is_recorded(time: Clock) -> None:
    """Creation, transition and facet, to the microsecond and in UTC."""
    at = time.at - timedelta(days=30, microseconds=7)
    with context(at=at):
        lead = Lead.objects.create()
    later = (at + timedelta(days=1)).astimezone(timezone(timedelta(hours=5, minutes=45)))
    with context(at=later):
        lead.win(1)
        lead.save()

    assert [e.occurred_at for e in events_of(lead.stock_lifecycle)] == [micros(at), micros(later)]
    assert lead.temperature_since == later
    assert lead.temperature_since.tzinfo == UTC
    lead.refresh_from_db()
    assert_whole(lead)


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["create", "move", "reclassify", "delete"])
def test_at_in_the_future_is_refused(what: str, time: Clock) -> None:
    """Only what has happened can be recorded, and nothing is written."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    acts = {
        "create": Lead.objects.create,
        "move": lead.cool,
        "reclassify": lead.save,
        "delete": lead.delete,
    }
    with (
        pytest.raises(InvalidInstant, match=r"lies in the future of crm.Lead .*it is 2026-03-03"),
        context(at=time.at + timedelta(microseconds=1)),
        transaction.atomic(),
    ):
        acts[what]()

    assert trail(lead) == ["entered >hot"]
    assert Lead.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["move", "reclassify", "delete"])
def test_at_before_the_last_event_is_refused(what: str, time: Clock) -> None:
    """An object's past is recorded in order."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    acts = {"move": lead.cool, "reclassify": lead.save, "delete": lead.delete}
    with (
        pytest.raises(LateEntry, match=r"too early for crm.Lead .*its last event is of 2026-03-03"),
        context(at=time.at - timedelta(microseconds=1)),
        transaction.atomic(),
    ):
        acts[what]()

    assert trail(lead) == ["entered >hot"]


@pytest.mark.django_db
def test_at_before_a_pending_transition_is_refused(time: Clock) -> None:
    """What is called and not saved counts as well."""
    with context(at=time.at - timedelta(days=3)):
        lead = Lead.objects.create()
    lead.cool()
    with pytest.raises(LateEntry), context(at=time.at - timedelta(days=1)):
        lead.chill()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


@pytest.mark.django_db
def test_at_the_instant_of_the_last_event_is_allowed(time: Clock) -> None:
    """Two things may happen at once; versions keep their order."""
    lead = Lead.objects.create()
    with context(at=time.at):
        lead.cool()
        lead.save()

    assert_whole(lead)


@pytest.mark.django_db
def test_a_past_is_loaded_in_one_transaction(time: Clock) -> None:
    """Events in order, each dated, no decay among them that was not due."""
    order = Order(grace=timedelta(days=2))
    begin = time.at - timedelta(days=365)
    with context(at=begin):
        order.save()
    with context(at=begin + timedelta(days=1)):
        order.pay()
        order.send()
        order.save()

    assert trail(order)[2:] == ["moved due>paid", "moved waiting>sent"]
    assert timers_of(order) == {}
    assert_whole(order)


@pytest.mark.django_db
def test_a_clock_that_lags_is_raised_to_the_last_instant(time: Clock) -> None:
    """Two servers disagree: an object's instants never go back."""
    lead = Lead.objects.create()
    before = time.at
    time.move_to(before - timedelta(minutes=10))
    lead.cool()
    lead.save()

    assert last_event(lead).occurred_at == micros(before)
    assert_whole(lead)

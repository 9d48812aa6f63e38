"""Bulk and one by one write the same: events, rows and timers."""

import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import QuerySet
from django_fsm import TransitionNotAllowed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockflow import context
from stockflow.models import Event, ScheduledTransition, StockflowModel
from stockflow.subjects import subject_of
from stockflow.testing import Clock
from tests.crm.models import BigLead, HotLead, Lead, Order, Rep, Ticket
from tests.fence.down import fence_down
from tests.stockflow.conftest import START

pytestmark = [pytest.mark.django_db, pytest.mark.long]

NOBODY = UUID(int=0)
AGES = st.sampled_from([0, 1, 6, 7, 8, 40])
"""Days from creation to the transition: before, at and after what decays."""


@st.composite
def leads(draw: Any) -> dict[str, Any]:
    """A lead, as given to its class."""
    return {
        "temperature": draw(st.sampled_from(["hot", "warm", "cold", "won"])),
        "channel": draw(st.sampled_from(["web", "fair", "", 'a"\\b\n', "é\u2028😀"])),
        "amount": draw(st.sampled_from([-1, 0, 5])),
        "team": draw(st.sampled_from([None, "north", "ö\t"])),
        "age": draw(AGES),
        "adopted": draw(st.booleans()),
    }


CALLS = st.sampled_from(
    [
        ("cool", {}),
        ("chill", {}),
        ("rekindle", {}),
        ("win", {"amount": 9}),
        ("lose", {}),
        ("lose", {"channel": "fair"}),
        ("ping", {}),
        ("touch", {}),
    ]
)


def one_by_one(objects: Iterable[Any], name: str, arguments: dict[str, Any]) -> None:
    """Do what a bulk transition stands for."""
    for one in objects:
        with contextlib.suppress(TransitionNotAllowed):
            getattr(one, name)(**arguments)
        one.save()


def written(model: type[StockflowModel], objects: list[Any]) -> list[Any]:
    """Return what the tables hold of *objects*, without their keys and lifecycles."""
    names = [f.attname for f in model._meta.concrete_fields if not f.primary_key]
    names = [n for n in names if n != "stock_lifecycle" and not n.endswith("_ptr_id")]
    events = [
        f.name for f in Event._meta.fields if f.name not in ("id", "originator", "recorded_at")
    ]
    found = []
    for one in objects:
        row = model._base_manager.get(pk=one.pk)
        log = Event.objects.filter(originator=str(row.stock_lifecycle)).order_by("version")
        timers = ScheduledTransition.objects.filter(
            lifecycle=row.stock_lifecycle or NOBODY
        ).order_by("field")
        found.append(
            (
                {name: getattr(row, name) for name in names},
                [{k: _plain(v) for k, v in event.items()} for event in log.values(*events)],
                [*timers.values("model", "field", "version", "transition", "due_at", "parked_at")],
            )
        )
    return found


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def make(model: type[Any], given: dict[str, Any], time: Clock, at: datetime) -> Any:
    """Create one object as old as it says."""
    values = dict(given)
    time.move_to(at - timedelta(days=values.pop("age")))
    team = values.pop("team", None)
    values.pop("adopted", None)
    if team is not None:
        values["owner"] = Rep.objects.get_or_create(name=team, team=team)[0]
    return model.objects.create(**values)


def forget(one: StockflowModel) -> None:
    """Make the row one that is older than its history; the fence is down."""
    ScheduledTransition.objects.filter(lifecycle=one.stock_lifecycle or NOBODY).delete()
    blank: dict[str, Any] = dict.fromkeys(("stock_lifecycle", "stock_changed_at"))
    blank["stock_version"] = 0
    for field in subject_of(type(one)).fields:
        blank |= {field.since_name: None, field.due_name: None}
    QuerySet(subject_of(type(one)).table).filter(pk=one.pk).update(**blank)


def compare(
    model: type[Any], given: list[dict[str, Any]], call: tuple[str, dict[str, Any]], time: Clock
) -> None:
    """Make twins, move one set in bulk and the other one by one, and compare what is written."""
    at, (name, arguments) = START + timedelta(days=100), call
    ours = [make(model, values, time, at) for values in given]
    theirs = [make(model, values, time, at) for values in given]
    forgotten = [
        one
        for values, *twins in zip(given, ours, theirs, strict=True)
        if not values.get("adopted", True)
        for one in twins
    ]
    if forgotten:
        with fence_down(operations=["update"]):
            for one in forgotten:
                forget(one)
    time.move_to(at)
    mine = model.objects.filter(pk__in=[one.pk for one in ours])
    with context(actor="ada", reason="why", data={"n": 1}):
        outcome = mine.transition(name, chunk_size=3, **arguments)
        one_by_one(model.objects.filter(pk__in=[one.pk for one in theirs]), name, arguments)

    assert outcome.total == len(given)
    assert written(model, ours) == written(model, theirs)


COMMON = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@COMMON
@given(st.lists(leads(), min_size=1, max_size=8), CALLS, st.sampled_from([Lead, HotLead]))
def test_leads(time: Clock, given: list[Any], call: Any, model: type[Lead]) -> None:
    """With facets, related ones too, decays, conditions, and rows never adopted."""
    with transaction.atomic():
        compare(model, given, call, time)
        transaction.set_rollback(True)


@COMMON
@given(
    st.lists(
        st.fixed_dictionaries({"age": AGES, "adopted": st.booleans()}), min_size=1, max_size=6
    ),
    st.sampled_from(["dun", "pay", "send", "cancel", "delay", "write_off"]),
)
def test_orders(time: Clock, given: list[Any], name: str) -> None:
    """With two fields, a key that is a UUID, and delays of every kind."""
    with transaction.atomic():
        compare(Order, given, (name, {}), time)
        transaction.set_rollback(True)


@COMMON
@given(
    st.lists(
        st.fixed_dictionaries(
            {"state": st.sampled_from(["new", "open", "closed", "archived"]), "age": AGES}
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(
        [("open", {}), ("close", {}), ("decide", {"close": True}), ("put", {"to": "open"})]
    ),
)
def test_tickets(time: Clock, given: list[Any], call: Any) -> None:
    """With native decorators and dynamic targets."""
    with transaction.atomic():
        compare(Ticket, given, call, time)
        transaction.set_rollback(True)


@COMMON
@given(
    st.lists(
        st.fixed_dictionaries({"budget": st.integers(0, 3), "age": AGES}), min_size=1, max_size=4
    ),
    st.sampled_from([("offer", {}), ("cool", {}), ("win", {"amount": 3})]),
)
def test_children(time: Clock, given: list[Any], call: Any) -> None:
    """With columns in two tables."""
    with transaction.atomic():
        compare(BigLead, given, call, time)
        transaction.set_rollback(True)

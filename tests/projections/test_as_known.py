"""What was known at a position is what its events say, and stays so for ever."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import Flow, Process, Stock
from stockflow.tables import Position
from stockflow.testing import clock, sequence
from tests.crm.models import Lead
from tests.projections import histories as made
from tests.projections.histories import NOW, START, STATES, histories, logged, quick

pytestmark = pytest.mark.django_db
FIRST, END = START + timedelta(days=1), START + timedelta(days=9)
HOUR = timedelta(hours=1)
states = st.sets(st.sampled_from(STATES), min_size=1)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def stock_of(declared: Any, states: Any = ("hot",)) -> Stock:
    """Return a stock of leads."""
    declared.stocks.clear()
    declared.flows.clear()
    declared.processes.clear()
    return Stock("stock", Lead.temperature, states=states)


def give_positions(events: list[Event], number: int, start: datetime = START) -> None:
    """Give the first of *events* their positions, one each hour."""
    Position._default_manager.bulk_create(
        Position(
            event=e.pk,
            application="stockflow",
            position=n,
            sequenced_at=to_micros(start + n * HOUR),
            hash=b"",
        )
        for n, e in enumerate(events[:number], start=1)
    )


def answers(stock: Stock, **known: Any) -> list[Any]:
    """Return what all kinds of questions have for answers."""
    flow = Flow("leaving", sources=[stock], sinks=[None])
    process = Process("process", stocks=[stock], flows=[flow])
    cut: Any = {"every": "day", "by": "channel", **known}
    found = [
        stock.count(END, **known),
        {str(k): n for k, n in stock.count(END, by="channel", **known).items()},
        [row[:3] for row in stock.series(FIRST, END, **cut)],
        sorted((str(m.lifecycle), m.state, m.since) for m in stock.members(END, **known)),
        [row.value for row in stock.exposure(FIRST, END, **cut)],
        [row[2:4] for row in stock.extremes(FIRST, END, **cut)],
        flow.count(FIRST, END, **known),
        [row.value for row in flow.series(FIRST, END, **cut)],
        flow.rate(FIRST, END, per="day", **known),
        [row.events for row in flow.hazard(FIRST, END, **cut)],
        list(stock.stays(END, **known)),
        stock.dwell(FIRST, END, **cut),
        stock.lifecycle(FIRST, END, **cut),
        [list(one) for one in stock.survival(**known).values()],
        list(stock.ages(END, **known)),
        [r[:4] for r in process.roll_forward(FIRST, END, **cut)["stock"]],
        [list(one) for one in process.alluvial(FIRST, END, **known).values()],
        [list(one) for one in process.series(FIRST, END, **cut).values()],
    ]
    for table in ("stocks", "flows", "processes"):
        getattr(_registry(), table).clear()
    return found


def _registry() -> Any:
    from stockflow.projections import registry

    return registry.declared


@pytest.mark.long
@quick
@given(events=histories, states=states, data=st.data())
def test_as_known_is_the_log_cut_off(
    declared: Any, events: list[Event], states: set[str], data: st.DataObject
) -> None:
    """At a position, an instant after it, or of what is sequenced: later events are not there."""
    number = data.draw(st.integers(0, len(events)))
    kept = data.draw(st.integers(0, number))
    with logged(events[:kept]):
        wanted = answers(stock_of(declared, states))
    with logged(events[:number]):
        all_sequenced = answers(stock_of(declared, states))
    with logged(events, folded=False):
        give_positions(events, number)
        stock = stock_of(declared, states)
        instant = START + kept * HOUR + timedelta(minutes=30)
        assert answers(stock, as_known_at=kept) == wanted
        assert answers(stock_of(declared, states), as_known_at=instant) == wanted
        assert answers(stock_of(declared, states), sequenced=True) == all_sequenced


@quick
@given(events=histories, states=states, data=st.data())
def test_restatement_is_the_difference(
    declared: Any, events: list[Event], states: set[str], data: st.DataObject
) -> None:
    """Each bucket whose level or flows changed has a row, and no other."""
    later = data.draw(st.integers(0, len(events)))
    earlier = data.draw(st.integers(0, later))
    stock = stock_of(declared, states)
    with logged(events, folded=False):
        give_positions(events, len(events))
        ask: Any = {"start": FIRST, "end": END, "every": "day"}
        rows = stock.restatement(**ask, earlier=earlier, later=later)
        split = stock.restatement(**ask, earlier=earlier, later=later, by="channel")
        known = [
            [
                [row.value for row in measure(**ask, as_known_at=at)]
                for measure in (stock.closing, stock.inflow, stock.outflow, stock.reclassified)
            ]
            for at in (earlier, later)
        ]
        starts = [row.start for row in stock.closing(**ask)]

    wanted = []
    for n, start in enumerate(starts):
        was, became = ([measure[n] for measure in one] for one in known)
        change = [int(b or 0) - int(a or 0) for a, b in zip(was, became, strict=True)]
        if any(change):
            wanted.append((start, was[0], became[0], *change))
    assert [(row.start, *row[2:8]) for row in rows] == wanted
    for row in rows:
        parts = [one for one in split if one.start == row.start]
        assert sum(one.change for one in parts) == row.change


def test_sequenced_says_up_to_where(declared: Any, django_assert_num_queries: Any) -> None:
    """The position that it names gives the same answer when more is known."""
    hot = stock_of(declared)
    Lead.objects.create()
    assert (hot.count(), hot.count(sequenced=True)) == (1, 0)
    sequence()
    Lead.objects.create()
    with django_assert_num_queries(1):
        series = hot.series(NOW, NOW + HOUR, every="hour", sequenced=True)
    sequence()
    again = hot.series(NOW, NOW + HOUR, every="hour", as_known_at=series.position)

    assert series.position == again.position == 1
    assert series == again
    assert [row.value for row in series] == [1]
    assert hot.count() == hot.count(as_known_at=2) == 2
    assert hot.series(NOW, NOW + HOUR, every="hour").position is None


@pytest.mark.django_db(transaction=True)
def test_sequenced_catches_up_outside_transactions(declared: Any) -> None:
    """Where a reader may, it gives what is committed its position first."""
    Lead.objects.create()

    assert not connection.in_atomic_block
    assert stock_of(declared).count(sequenced=True) == 1


@pytest.mark.parametrize(
    ("known", "message"),
    [
        pytest.param({"as_known_at": -1}, "positions count from 1", id="negative"),
        pytest.param({"as_known_at": 7}, "the last position given is 0", id="not-given"),
        pytest.param({"as_known_at": NOW + HOUR}, "nobody knows yet what", id="future"),
        pytest.param({"as_known_at": datetime(2026, 3, 3)}, "as_known_at must be", id="naive"),
        pytest.param({"as_known_at": "3"}, "as_known_at must be", id="text"),
    ],
)
def test_what_was_never_known_is_refused(declared: Any, known: Any, message: str) -> None:
    """An answer about it could still change."""
    with pytest.raises(InvalidInstant, match=message):
        stock_of(declared).count(**known)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        pytest.param(
            lambda s, f, p: s.count(as_know_at=1),
            "'as_know_at'.*as_known_at, sequenced",
            id="count",
        ),
        pytest.param(
            lambda s, f, p: s.series(FIRST, END, every="day", sequence=True),
            "'sequence'",
            id="series",
        ),
        pytest.param(lambda s, f, p: s.members(every="day"), "'every'", id="members"),
        pytest.param(lambda s, f, p: s.stays(merge=False), "'merge'", id="stays"),
        pytest.param(
            lambda s, f, p: s.closing(FIRST, END, every="day", timezone=None),
            "'timezone'.*as_known_at, by, every, sequenced, tz",
            id="measure",
        ),
        pytest.param(lambda s, f, p: s.closing(FIRST, END), "Missing .*'every'", id="missing"),
        pytest.param(
            lambda s, f, p: s.extremes(FIRST, END, every="day", facet="channel"),
            "'facet'",
            id="extremes",
        ),
        pytest.param(
            lambda s, f, p: s.lifecycle(FIRST, END, every="day", zone=None),
            "'zone'",
            id="stays-cut",
        ),
        pytest.param(lambda s, f, p: f.count(sourced=s), "'sourced'", id="flow"),
        pytest.param(lambda s, f, p: f.rates(FIRST, END, every="day", per=1), "'per'", id="rates"),
        pytest.param(lambda s, f, p: p.alluvial(FIRST, END, by="channel"), "'by'", id="process"),
    ],
)
def test_mistyped_arguments_are_refused(declared: Any, ask: Any, message: str) -> None:
    """Left out, one would have something else answered than what was asked."""
    stock = stock_of(declared)
    flow = Flow("leaving", sources=[stock], sinks=[None])

    with pytest.raises(TypeError, match=message):
        ask(stock, flow, Process("process", stocks=[stock]))


def test_restatement_has_an_order(declared: Any) -> None:
    """What was known later cannot be compared with what was known before it, the other way."""
    hot = stock_of(declared)
    rows = [
        made.event(_key(n), 1, START, kind="entered", source=None, target="hot") for n in (1, 2)
    ]
    with logged(rows, folded=False):
        give_positions(rows, 2)
        with pytest.raises(InvalidInstant, match="exchange the two"):
            hot.restatement(FIRST, END, earlier=2, later=1, every="day")
        with pytest.raises(InvalidInstant, match="exchange the two"):
            hot.restatement(FIRST, END, earlier=NOW, later=START, every="day")
        restated = hot.restatement(FIRST, END, earlier=START, every=END - FIRST)
        (row,) = restated

    assert row[2:8] == (0, 2, 2, 0, 0, 0)
    assert restated.position == 2


def _key(n: int) -> Any:
    from uuid import UUID

    return UUID(int=n)

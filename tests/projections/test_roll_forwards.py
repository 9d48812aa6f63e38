"""A roll-forward explains each level, in each bucket and cell, and never plugs a gap."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import Flow, Process, Stock
from stockflow.testing import clock
from tests.crm.models import Lead, Rep, Sale
from tests.projections.brute import Brute, by_channel, whole
from tests.projections.histories import NOW, START, STATES, histories, logged, micros, quick

pytestmark = pytest.mark.django_db
FIRST, END = START + timedelta(days=2), START + timedelta(days=9)
splits = st.sampled_from([None, "channel"])


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def process_of(declared: Any, *ends: tuple[str | None, str | None]) -> Process:
    """Return a process of a stock for each state and one of two, and flows between *ends*."""
    for table in (declared.stocks, declared.flows, declared.processes):
        table.clear()
    stocks = {state: Stock(state, Lead.temperature, states=[state]) for state in STATES}
    pipeline = Stock("pipeline", Lead.temperature, states=["hot", "warm"])
    every: dict[str, Stock] = stocks
    flows = [
        Flow(f"flow{n}", sources=[every.get(source or "")], sinks=[every.get(sink or "")])
        for n, (source, sink) in enumerate(ends)
        if (source, sink) != (None, None)
    ]
    return Process("sales", stocks=[*stocks.values(), pipeline], flows=flows)


ends = st.lists(st.tuples(*[st.sampled_from([*STATES, None])] * 2), max_size=4)


@quick
@given(events=histories, between=ends, by=splits)
def test_it_adds_up_and_is_brute_force(
    declared: Any, events: list[Event], between: list[Any], by: str | None
) -> None:
    """Opening, in, out and reclassified are the closing level, which is the next opening."""
    process = process_of(declared, *between)
    with logged(events):
        tables = process.roll_forward(FIRST, END, every="day", by=by)

    assert list(tables) == [*STATES, "pipeline"]
    for stock in process.stocks:
        levels: dict[object, int] = {}
        for row in tables[stock.slug]:
            came = sum(row.flows_in.values()) + row.other_in
            went = sum(row.flows_out.values()) + row.other_out
            assert row.opening + came - went + row.reclassified == row.closing
            assert levels.setdefault(row.facet, row.opening) == row.opening
            assert min(row.other_in, row.other_out, row.opening, row.closing) >= 0
            levels[row.facet] = row.closing
            value_of, value = (by_channel, str(row.facet)) if by else (whole, None)
            counted = Brute(events, set(stock.states), value_of, value)
            start, end = to_micros(row.start), to_micros(row.end)
            assert row.closing == counted.level(end)
            assert came == counted.crossing(start, end, inward=True)
            assert went == counted.crossing(start, end, inward=False)
            if by is None:
                assert row.adjusted == adopted(counted, start, end)


def adopted(counted: Brute, start: int, end: int) -> int:
    """Count who was adopted into the stock."""
    return sum(
        e.kind == "adopted" and start <= micros(e) < end and e.target in counted.states
        for e in counted.events
    )


@quick
@given(events=histories)
def test_declared_flows_are_counted_once(declared: Any, events: list[Event]) -> None:
    """An event of two declared flows is the first one's."""
    process = process_of(declared, ("hot", "warm"), ("hot", "warm"), ("warm", None))
    with logged(events):
        table = process.roll_forward(FIRST, END, every=END - FIRST)["hot"]
        (row,) = table
        first, again, _ = (flow.count(FIRST, END) for flow in process.flows)

    assert row.flows_out == {"flow0": first, "flow1": 0}
    assert again == first
    assert row.flows_in == {}


def test_unexplained_is_what_rows_have_more(declared: Any) -> None:
    """Zero where all is recorded; a row without its log shows up, in the running bucket only."""
    process = process_of(declared)
    for channel in ("web", "web", "fair"):
        Lead.objects.create(channel=channel)
    ask: Any = {"start": NOW - timedelta(days=1), "end": NOW + timedelta(days=1), "every": "day"}

    assert [row.unexplained for row in process.roll_forward(**ask)["hot"]] == [None, 0]
    split = process.roll_forward(**ask, by="channel")["hot"]
    assert [(r.facet, r.unexplained) for r in split if r.is_partial] == [("fair", 0), ("web", 0)]
    Event._default_manager.bulk_create([stray()])
    assert [row.unexplained for row in process.roll_forward(**ask)["hot"]] == [None, -1]
    known = process.roll_forward(**ask, sequenced=True)["hot"]
    assert [row.unexplained for row in known] == [None, None]


def stray() -> Event:
    """Return an event without an object."""
    from uuid import uuid4

    from tests.projections.histories import event

    return event(uuid4(), 1, NOW, kind="entered", source=None, target="hot")


def test_facet_at_entry_is_not_held_against_rows(declared: Any) -> None:
    """Rows do not know the team of then."""
    offered = Stock("offered", Sale.state, states=["offered"])
    process = Process("sales", stocks=[offered])
    Sale.objects.create(seller=Rep.objects.create(name="Ann", team="north"))
    ask: Any = {"start": NOW, "end": NOW + timedelta(days=1), "every": "day"}

    assert [r.unexplained for r in process.roll_forward(**ask, by="seller__team")["offered"]] == [
        None
    ]
    assert [r.unexplained for r in process.roll_forward(**ask, by="seller__name")["offered"]] == [0]


def test_frame_has_a_column_for_each_line(declared: Any) -> None:
    """Declared flows become columns."""
    process = process_of(declared, ("hot", "won"), (None, "hot"))
    table = process.roll_forward(FIRST, END, every="week")["hot"]
    frame = table.to_polars()

    assert frame.columns == list(table.columns)
    assert {"in: flow1", "other in", "out: flow0", "other out"} <= set(frame.columns)
    assert list(table.to_pandas().columns) == frame.columns

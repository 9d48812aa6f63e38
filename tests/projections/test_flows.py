"""Flows equal brute force over the log, each answer from one statement."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidBuckets, InvalidInstant, UnknownFacet
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import buckets
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import Facet, Flow, Stock
from stockflow.testing import clock
from tests.crm.models import HotLead, Lead, Ticket
from tests.projections import histories
from tests.projections.histories import FAMILY, NOW, START, event, logged, quick

pytestmark = pytest.mark.django_db
END = START + timedelta(days=14)
DAY = timedelta(days=1)
ends = st.sets(st.sampled_from(["hot", "warm", "won", None]), min_size=1)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def flow_of(declared: Any, sources: set[str | None], sinks: set[str | None]) -> Flow:
    """Return a flow between states."""
    declared.stocks.clear()
    declared.flows.clear()
    stocks: dict[str | None, Stock | None] = {None: None}
    for state in (sources | sinks) - {None}:
        stocks[state] = Stock(str(state), Lead.temperature, states=[str(state)])
    return Flow("flow", sources=map(stocks.get, sources), sinks=map(stocks.get, sinks))


def flowing(
    events: list[Event],
    start: datetime,
    end: datetime,
    sources: set[str | None],
    sinks: set[str | None],
) -> list[Event]:
    """Return the events of a flow, one by one."""
    return [
        e
        for e in events
        if e.kind in ("entered", "moved", "left")
        and e.model in FAMILY
        and to_micros(start) <= histories.micros(e) < to_micros(end)
        and e.source in sources
        and e.target in sinks
    ]


def channel_of(e: Event) -> object:
    """Return the channel of the cell reached, or left where the object left."""
    return histories.channel(e.source_facets if e.target is None else e.target_facets)


@quick
@given(events=histories.histories, sources=ends, sinks=ends)
def test_flow_is_brute_force(
    declared: Any, events: list[Event], sources: set[str | None], sinks: set[str | None]
) -> None:
    """Window and buckets are half open; only what entered, moved or left is a flow."""
    if sources == sinks == {None}:
        return
    flow, start = flow_of(declared, sources, sinks), START + DAY
    cut = buckets(start, END, "day", UTC)
    expected = flowing(events, start, END, sources, sinks)
    with logged(events):
        split = flow.count(start, END, by="channel")

        assert flow.count(start, END) == len(expected)
        assert {str(v): n for v, n in split.items()} == Counter(map(str, map(channel_of, expected)))
        assert [row.value for row in flow.series(start, END, every="day")] == [
            len(flowing(events, b.start, b.end, sources, sinks)) for b in cut
        ]
        assert flow.rate(start, END, per="week") == pytest.approx(len(expected) * 7 / 13)
        found = [
            e.pk
            for e in flow.events.filter(
                occurred_at__gte=to_micros(start), occurred_at__lt=to_micros(END)
            )
        ]
        assert sorted(found) == sorted(e.pk for e in expected)


def test_each_answer_is_one_statement(declared: Any, django_assert_num_queries: Any) -> None:
    """Two statements see two snapshots."""
    flow = flow_of(declared, {None}, {"hot"})
    for ask in (
        lambda: flow.count(START, END),
        lambda: flow.count(START, END, by="owner__team"),
        lambda: flow.series(START, END, every="day", by="channel"),
        lambda: flow.rate(START, END, per="month"),
        lambda: list(flow.events),
    ):
        with django_assert_num_queries(1):
            ask()


def test_what_the_write_side_records_flows(declared: Any) -> None:
    """A transition saved is an event of its flow; a changed facet is none."""
    winning = flow_of(declared, {"hot"}, {"won"})
    lead = Lead.objects.create(channel="web")
    lead.channel = "fair"
    lead.save()
    lead.win(amount=3)
    lead.save()
    after = NOW + DAY

    assert winning.count(NOW, after, by="channel") == {"fair": 1}
    assert [e.transition for e in winning.events] == ["win"]
    assert flow_of(declared, {"hot"}, {"hot"}).count(NOW, after) == 0


def test_split_series_has_a_row_for_each_bucket_and_value(declared: Any) -> None:
    """A value that has an event in some bucket has a row in each."""
    flow = flow_of(declared, {None}, {"hot"})
    rows = [
        event(
            uuid4(),
            1,
            START + n * DAY,
            kind="entered",
            source=None,
            target="hot",
            facets=(None, text),
        )
        for n, text in enumerate(['{"channel":"web"}', '{"channel":"fair"}'])
    ]
    with logged(rows):
        series = flow.series(START, START + 2 * DAY, every="day", by="channel")

    assert [(row.facet, row.value) for row in series] == [
        ("fair", 0),
        ("web", 1),
        ("fair", 1),
        ("web", 0),
    ]
    assert series.by == "channel"


def test_proxy_flow_counts_its_own_objects(declared: Any) -> None:
    """Both ends bound the models: from the outside to a proxy's stock only its objects come."""
    hot = Stock("hot", HotLead.temperature, states=["hot"])
    arriving = Flow("arriving", sources=[None], sinks=[hot])
    Lead.objects.create()
    HotLead.objects.create()

    assert arriving.count(NOW, NOW + DAY) == arriving.events.count() == 1


def test_rate_counts_elapsed_time_only(declared: Any) -> None:
    """Of a range that ends in the future the part until now counts."""
    flow = flow_of(declared, {None}, {"hot"})
    rows = [
        event(uuid4(), 1, NOW - DAY, kind="entered", source=None, target="hot") for _ in range(4)
    ]
    with logged(rows):
        assert flow.rate(NOW - 2 * DAY, NOW + 30 * DAY, per="day") == 2.0


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        pytest.param(
            lambda f: f.count(END, START), InvalidBuckets, "end must be after", id="range"
        ),
        pytest.param(
            lambda f: f.count(START.date(), END), InvalidInstant, "start must be", id="date"
        ),
        pytest.param(lambda f: f.rate(START, END, per="eon"), InvalidBuckets, "'eon'", id="per"),
        pytest.param(
            lambda f: f.rate(NOW, NOW + DAY, per="day"),
            InvalidInstant,
            "time that has passed",
            id="future",
        ),
        pytest.param(
            lambda f: f.count(START, END, by="x"), UnknownFacet, "no facet 'x'", id="facet"
        ),
        pytest.param(
            lambda f: f.series(START, END, every="day", by=Facet("y")),
            UnknownFacet,
            "<Facet: y>",
            id="view",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(
    declared: Any, ask: Any, error: type[Exception], message: str
) -> None:
    """The error says what, where and what to do."""
    with pytest.raises(error, match=message):
        ask(flow_of(declared, {"hot"}, {"won"}))


@pytest.mark.parametrize(
    ("sources", "sinks", "message"),
    [
        pytest.param([], ["lead"], "needs sources and sinks", id="no-source"),
        pytest.param([None], [None], "with a Stock among them", id="outside-only"),
        pytest.param(["lead"], [1], "1 is no Stock, nor a state", id="a-number"),
        pytest.param(
            ["lead"], ["tepid"], "'tepid' is no Stock, nor a state of crm.Lead", id="a-state"
        ),
        pytest.param(
            ["lead"],
            ["ticket"],
            "from crm.Lead.temperature to crm.Ticket.state: nothing moves",
            id="two-fields",
        ),
    ],
)
def test_what_cannot_be_declared_is_refused(sources: Any, sinks: Any, message: str) -> None:
    """A misdeclared flow fails where it is declared."""
    stocks = {
        "lead": Stock("lead", Lead.temperature, states=["hot"]),
        "ticket": Stock("ticket", Ticket.state, states=["new"]),
    }
    with pytest.raises(InvalidDeclaration, match=message):
        Flow(
            "flow",
            sources=[stocks.get(s, s) for s in sources],
            sinks=[stocks.get(s, s) for s in sinks],
        )

"""Stocks equal brute force over the log, each answer from one statement."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.errors import InvalidBuckets, InvalidInstant, UnknownFacet
from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.intervals import Grain, buckets
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event, ScheduledTransition
from stockflow.projections import Stock
from stockflow.testing import clock
from tests.crm.models import BigLead, HotLead, Lead, Phase, Ticket
from tests.projections import histories
from tests.projections.histories import NOW, START, STATES, event, logged, quick

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
states = st.sets(st.sampled_from(STATES), min_size=1)
grains = st.sampled_from(["hour", "day", "week", "month", timedelta(hours=7)])
END = START + timedelta(days=16)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


@pytest.fixture(name="make")
def _make(declared: Any) -> Callable[..., Stock]:
    def make(states: Any = ("hot",), reference: Any = Lead.temperature) -> Stock:
        declared.stocks.clear()
        return Stock("stock", reference, states=states)

    return make


def by_text(counts: dict[Any, int]) -> dict[object, int]:
    """Return *counts* with what was not recorded under its text."""
    return {"not recorded" if v is NOT_RECORDED else v: n for v, n in counts.items()}


@quick
@given(events=histories.histories, states=states, at=histories.instants)
def test_count_is_brute_force(
    make: Callable[..., Stock], events: list[Event], states: set[str], at: datetime
) -> None:
    """As-of is inclusive: what happened at the instant has happened."""
    stock, after = make(states), at + timedelta(microseconds=1)
    with logged(events):
        assert stock.count(at=at) == histories.level(events, after, states)
        assert by_text(stock.count(at=at, by="channel")) == histories.level_by_channel(
            events, after, states
        )
        assert stock.count() == histories.level(events, NOW, states)


@quick
@given(events=histories.histories, states=states, every=grains)
def test_series_is_brute_force(
    make: Callable[..., Stock], events: list[Event], states: set[str], every: Grain
) -> None:
    """A row is the level at its bucket's end, exclusive; empty buckets are rows."""
    stock, start = make(states), START + timedelta(days=2)
    cut = buckets(start, END, every, BERLIN)
    with logged(events):
        series = stock.series(start, END, every=every, tz=BERLIN)
        split = stock.series(start, END, every=every, tz=BERLIN, by="channel")

    assert [(row.start, row.end) for row in series] == list(cut)
    assert [row.value for row in series] == [histories.level(events, b.end, states) for b in cut]
    for bucket in cut:
        expected = histories.level_by_channel(events, bucket.end, states)
        found = by_text({row.facet: row.value for row in split if row.start == bucket.start})
        assert {value: n for value, n in found.items() if n} == expected
    assert len(split) == len(cut) * len({row.facet for row in split})


@quick
@given(events=histories.histories, states=states, at=histories.instants)
def test_members_are_brute_force(
    make: Callable[..., Stock], events: list[Event], states: set[str], at: datetime
) -> None:
    """Members are the lifecycles whose last event leads into the stock."""
    after = at + timedelta(microseconds=1)
    entered = histories.since(events, after)
    with logged(events):
        members = make(states).members(at=at)

    assert sorted((str(m.lifecycle), m.state, to_micros(m.since)) for m in members) == sorted(
        (e.originator, str(e.target), entered[e.originator])
        for e in histories.standing(events, after)
        if e.target in states
    )
    assert all(member.object is None for member in members)


def test_each_answer_is_one_statement(
    make: Callable[..., Stock], django_assert_num_queries: Any
) -> None:
    """Two statements see two snapshots."""
    stock = make()
    lead = Lead.objects.create(channel="web")
    for ask in (
        stock.count,
        lambda: stock.count(at=NOW, by="channel"),
        lambda: stock.series(START, END, every="day"),
        lambda: stock.series(START, END, every="hour", by="channel"),
    ):
        with django_assert_num_queries(1):
            ask()
    with django_assert_num_queries(2):  # the log decides; the objects are fetched after
        assert [member.object for member in stock.members()] == [lead]


def test_what_the_write_side_records_is_counted(make: Callable[..., Stock]) -> None:
    """An object is in its state's stock from its transition on, and in none once deleted."""
    hot, later = make(["hot"]), NOW + timedelta(hours=1)
    lead = Lead.objects.create(channel="web")
    lifecycle = lead.stock_lifecycle
    with clock(later):
        lead.win(amount=3)
        lead.save()

        assert (hot.count(at=NOW), hot.count(at=later)) == (1, 0)
        lead.delete()
        (member,) = hot.members(at=NOW)
    assert member == (lifecycle, None, "hot", NOW, {"channel": "web", "owner__team": None})


def test_child_and_proxy_count_their_own_objects(make: Callable[..., Stock]) -> None:
    """Asked of a child or proxy, only that model's objects count; of the parent, all."""
    for model in (Lead, HotLead, BigLead):
        model.objects.create()

    assert make(["hot"], Lead.temperature).count() == 3
    assert make(["hot"], HotLead.temperature).count() == 1
    assert make(["hot"], BigLead.temperature).count() == 1
    assert make(["draft"], BigLead.stage).count(by="budget") == {0: 1}


def test_counting_begins_with_nothing(make: Callable[..., Stock]) -> None:
    """An empty log has levels of 0, and no facet value."""
    stock = make()

    assert (stock.count(), stock.count(by="channel"), stock.members()) == (0, {}, [])
    assert [
        row.value for row in stock.series(START, START + 2 * timedelta(days=1), every="day")
    ] == [0, 0]
    assert stock.series(START, END, every="day", by="channel") == []


def test_series_ends_with_the_bucket_of_now(make: Callable[..., Stock]) -> None:
    """No row for what has not begun; the current bucket ends after what is settled."""
    series = make().series(NOW - timedelta(days=1), NOW + timedelta(days=9), every="day", tz=BERLIN)

    assert [row.end.astimezone(BERLIN).day for row in series] == [25, 26]
    assert series[-1].start <= NOW < series[-1].end
    assert series.settled_until == NOW
    assert make().series(NOW + timedelta(days=1), NOW + timedelta(days=2), every="day") == []


def test_series_names_its_columns(make: Callable[..., Stock]) -> None:
    """A split series has the facet's lookup as a column."""
    stock = make()

    assert stock.series(START, END, every="week").columns == ("start", "end", "value")
    assert stock.series(START, END, every="week", by="channel").columns[-1] == "channel"


def test_days_are_cut_in_the_zone_of_the_settings(
    make: Callable[..., Stock], settings: Any
) -> None:
    """Without tz= it is STOCKFLOW_TIME_ZONE."""
    settings.STOCKFLOW_TIME_ZONE = "Asia/Kathmandu"
    rows = make().series(START, START + timedelta(days=1), every="day")

    assert rows[0].end.astimezone(ZoneInfo("Asia/Kathmandu")).hour == 0


@pytest.mark.parametrize(
    ("change", "overdue"),
    [
        pytest.param({}, True, id="overdue"),
        pytest.param({"parked_at": 1}, False, id="parked"),
        pytest.param({"due_at": to_micros(NOW) + 1}, False, id="not-due"),
        pytest.param({"field": "stage"}, False, id="another-field"),
        pytest.param({"model": "crm.order"}, False, id="another-model"),
    ],
)
def test_answer_says_how_far_it_is_settled(
    make: Callable[..., Stock], change: dict[str, Any], overdue: bool
) -> None:
    """A decay that is due and has not fired is not in the log yet."""
    due = to_micros(NOW - timedelta(days=3))
    for due_at in (due, due + 1):
        ScheduledTransition._default_manager.create(
            lifecycle=uuid4(),
            **{
                "model": "crm.biglead",
                "field": "temperature",
                "due_at": due_at,
                "version": 1,
                **change,
            },
        )
    expected = from_micros(due) if overdue else NOW

    assert make().series(START, END, every="day").settled_until == expected
    assert make().members().settled_until == expected


def test_members_are_fetched_in_chunks(make: Callable[..., Stock]) -> None:
    """More members than one statement takes parameters are all found."""
    rows = [
        event(UUID(int=n), 1, START, kind="entered", source=None, target="hot", facets=(None, "{}"))
        for n in range(1, 1_102)
    ]
    with logged(rows):
        assert len(make().members()) == 1_101


@pytest.mark.parametrize("where", [None, {"channel": "web"}], ids=["whole", "narrowed"])
def test_members_in_parts(declared: Any, where: dict[str, str] | None) -> None:
    """Parts are cut in the order of the whole, and there is none beyond its end."""
    rows = [
        event(
            *(UUID(int=n * 7919 % 101), 1, START),
            kind="entered",
            source=None,
            target="hot",
            facets=(None, '{"channel":"web"}' if n % 3 else '{"channel":"fair"}'),
        )
        for n in range(1, 11)
    ]
    with logged(rows):
        stock = Stock("stock", Lead.temperature, states=["hot"], where=where)
        parts = [stock.part_of_members(slice(n, n + 4), NOW) for n in (0, 4, 8, 12)]
        whole = stock.members(NOW)

    assert [len(part) for part in parts] == ([4, 4, 2, 0] if where is None else [4, 3, 0, 0])
    assert [member for part in parts for member in part] == whole
    assert [member.lifecycle for member in whole] == sorted(one.lifecycle for one in whole)
    assert {member.facets["channel"] for member in whole} == ({"web"} if where else {"web", "fair"})


def test_members_of_one_instant_follow_the_version(make: Callable[..., Stock]) -> None:
    """Of several events at one instant the one with the highest version is the last."""
    key = uuid4()
    rows = [
        event(key, 2, START, kind="moved", source="hot", target="warm", facets=("{}", "{}")),
        event(key, 1, START, kind="entered", source=None, target="hot", facets=(None, "{}")),
    ]
    with logged(rows):
        assert make(["hot"]).members() == []
        assert [member.state for member in make(["warm"]).members(at=START)] == ["warm"]


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        pytest.param(
            lambda s: s.count(at=START.date()), InvalidInstant, "a date is not", id="date"
        ),
        pytest.param(
            lambda s: s.members(at=datetime(2026, 1, 1)), InvalidInstant, "aware", id="naive"
        ),
        pytest.param(
            lambda s: s.count(at=NOW + timedelta(days=1)),
            InvalidInstant,
            "yet to come",
            id="future",
        ),
        pytest.param(
            lambda s: s.series(END, START, every="day"), InvalidBuckets, "after", id="range"
        ),
        pytest.param(
            lambda s: s.series(START, END, every="eon"),
            InvalidBuckets,
            "'eon' .*'week'",
            id="grain",
        ),
        pytest.param(
            lambda s: s.count(by="colour"),
            UnknownFacet,
            r"crm.Lead.temperature declares no facet 'colour' \(it declares: 'channel', 'owner__team'\)",
            id="facet",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(
    make: Callable[..., Stock], ask: Any, error: type[Exception], message: str
) -> None:
    """The error says what, where and what to do."""
    with pytest.raises(error, match=message):
        ask(make())


@pytest.mark.parametrize(
    ("states", "reference", "message"),
    [
        pytest.param(["hto"], Lead.temperature, r"no state 'hto' \(it has: .*'hot'", id="misspelt"),
        pytest.param([], Lead.temperature, "needs a list of states", id="no-states"),
        pytest.param("hot", Lead.temperature, "needs a list of states .*not 'hot'", id="a-text"),
        pytest.param(["hot"], Lead, "such as Lead.temperature, not <class", id="a-model"),
        pytest.param(["on"], Phase.phase, "is abstract and has no objects", id="abstract"),
    ],
)
def test_what_cannot_be_declared_is_refused(
    make: Callable[..., Stock], states: Any, reference: Any, message: str
) -> None:
    """A misdeclared stock fails where it is declared."""
    with pytest.raises(InvalidDeclaration, match=message):
        make(states, reference)


def test_states_of_a_ticket(make: Callable[..., Stock]) -> None:
    """A machine with native decorators and computed targets has its named states."""
    assert make(["archived", "closed"], Ticket.state).states == {"archived", "closed"}

"""Each measure of a stock or flow equals brute force over the events, in each bucket and cell."""

import sys
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Grain, buckets
from stockflow.domain.measures.hazards import poisson_interval
from stockflow.domain.measures.sums import DAY
from stockflow.models import Event
from stockflow.projections import Flow, Stock
from stockflow.projections.measured import MeasureSeries
from stockflow.projections.roll_forwards import roll_forward
from stockflow.testing import clock
from tests.crm.models import Lead, Parcel
from tests.projections.brute import Brute, by_channel, whole
from tests.projections.histories import NOW, START, STATES, event, histories, logged, quick

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
FIRST, END = START + timedelta(days=2), START + timedelta(days=9)
MIDNIGHT = datetime(2026, 4, 1, tzinfo=BERLIN)
NOWS = [START + timedelta(days=1, hours=7), START + timedelta(days=5, hours=7), MIDNIGHT, NOW]
states = st.sets(st.sampled_from(STATES), min_size=1)
grains = st.sampled_from(["day", "week", "month", "quarter", "year", timedelta(hours=31)])
stretches = grains.map(lambda every: (every, END)) | st.just(("hour", FIRST + timedelta(days=2)))
zones = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/Havana"]).map(ZoneInfo)
splits = st.sampled_from([None, "channel"])


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def stock_of(declared: Any, states: Any = ("hot",)) -> Stock:
    """Return a stock of leads."""
    declared.stocks.clear()
    return Stock("stock", Lead.temperature, states=states)


def cut_until(
    now: datetime, end: datetime, every: Grain | timedelta, tz: ZoneInfo
) -> list[tuple[int, int, int]]:
    """Return start, end and elapsed time of each bucket that has begun, the end just after now."""
    cut = [b for b in buckets(FIRST, end, every, tz) if b.start <= now]
    until = to_micros(now)
    return [
        (to_micros(s), min(to_micros(e), until + 1), min(to_micros(e), until) - to_micros(s))
        for s, e in cut
    ]


def divided(above: float, below: float) -> float | None:
    """Return a quotient, or None."""
    return above / below if below else None


def expected(brute: Brute, start: int, end: int, elapsed: int) -> dict[str, Any]:
    """Return each measure by its formula in METRICS."""
    opening, closing = brute.level(start), brute.level(end)
    came, went = (brute.crossing(start, end, inward=inward) for inward in (True, False))
    exposure = brute.exposure(start, start + elapsed)
    average = divided(exposure, elapsed)
    return {
        "opening": opening,
        "closing": closing,
        "inflow": came,
        "outflow": went,
        "net": came - went,
        "reclassified": closing - opening - came + went,
        "exposure": exposure / DAY,
        "average_level": average,
        "churn": divided(went, opening),
        "turnover": divided(went, average) if average else None,
        "days_in_stock": divided(exposure / DAY, went) if exposure else None,
        "cover": closing / ((went - came) * DAY / elapsed) if elapsed and went > came else None,
    }


@quick
@given(
    events=histories,
    states=states,
    stretch=stretches,
    by=splits,
    now=st.sampled_from(NOWS),
    tz=zones,
)
def test_measures_are_brute_force(
    declared: Any,
    events: list[Event],
    states: set[str],
    stretch: tuple[Grain | timedelta, datetime],
    by: str | None,
    now: datetime,
    tz: ZoneInfo,
) -> None:
    """In any zone, also in a running bucket, of which only the part until now counts."""
    stock, (every, end) = stock_of(declared, states), stretch
    with clock(now), logged(events):
        found = {
            name: getattr(stock, name)(FIRST, end, every=every, tz=tz, by=by)
            for name in expected(Brute([], states, whole, None), 0, 0, 0)
        }
        peaks = stock.extremes(FIRST, end, every=every, tz=tz, by=by)
    cut = cut_until(now, end, every, tz)

    for name, series in found.items():
        assert len(series) == len(cut) * len({row.facet for row in series})
        for n, (_, rows) in enumerate(groupby(series, key=lambda row: row.start)):
            for row in rows:
                value_of, value = (by_channel, str(row.facet)) if by else (whole, None)
                brute = Brute(events, states, value_of, value)
                wanted = expected(brute, *cut[n])
                assert row.value == pytest.approx(wanted[name]), name
                assert row.is_partial == (row.end > now)
    for row in peaks:
        value_of, value = (by_channel, str(row.facet)) if by else (whole, None)
        first, last, _ = next(one for one in cut if one[0] == to_micros(row.start))
        levels = Brute(events, states, value_of, value).levels(first, last)
        assert (row.peak, row.low) == (max(levels), min(levels))
        assert row.is_partial == (row.end > now)
    assert len(peaks) == len(cut) * len({row.facet for row in peaks})


@quick
@given(events=histories, states=states, every=grains)
def test_parts_make_the_whole(
    declared: Any, events: list[Event], states: set[str], every: Grain | timedelta
) -> None:
    """Over time and over facets a measure is that of the range and of the whole."""
    stock = stock_of(declared, states)
    with logged(events):
        for name in ("opening", "closing", "inflow", "net", "exposure", "churn", "average_level"):
            ask = getattr(stock, name)
            split = ask(FIRST, END, every=every, tz=BERLIN, by="channel")
            (once,) = ask(FIRST, END, every=END - FIRST)

            (row,) = split.over_time().over_facets()
            assert row.value == once.value
            assert list(split.over_facets()) == list(ask(FIRST, END, every=every, tz=BERLIN))
        cut = stock.extremes(FIRST, END, every=every, tz=BERLIN)
        assert list(cut.over_time()) == list(stock.extremes(FIRST, END, every=END - FIRST))


ends = st.sets(st.sampled_from([*STATES, None]), min_size=1)


@quick
@given(events=histories, sources=states, sinks=ends, every=grains, by=splits)
def test_hazard_is_events_over_exposure(
    declared: Any,
    events: list[Event],
    sources: set[str],
    sinks: set[str | None],
    every: Grain | timedelta,
    by: str | None,
) -> None:
    """Both are counted for the facet value in the source; the interval is Poisson's."""
    declared.flows.clear()
    declared.stocks.clear()
    ends = {None: None} | {s: Stock(s, Lead.temperature, states=[s]) for s in STATES}
    flow = Flow("flow", sources=[ends[s] for s in sources], sinks=[ends[s] for s in sinks])
    with logged(events):
        hazards = flow.hazard(FIRST, END, every=every, tz=BERLIN, by=by, confidence=0.9)
        rates = flow.rates(FIRST, END, every=every, tz=BERLIN)
        (once,) = flow.hazard(FIRST, END, every=END - FIRST, confidence=0.9)

    for row in hazards:
        value_of, value = (by_channel, str(row.facet)) if by else (whole, None)
        brute = Brute(events, sources, value_of, value)
        start, end = to_micros(row.start), to_micros(row.end)
        taken = [
            e
            for e in brute.events
            if e.kind in ("entered", "moved", "left")
            and start <= (e.occurred_at or 0) < end
            and e.source in sources
            and e.target in sinks
        ]
        own = [e for e in taken if value_of(e.source_facets) == value]
        exposure = brute.exposure(start, end) / DAY
        assert row.events == len(own)
        assert row.exposure == pytest.approx(exposure)
        low, high = poisson_interval(len(own), 0.9)
        wanted = [divided(n, exposure) for n in (len(own), low, high)]
        assert [row.value, row.low, row.high] == pytest.approx(wanted)
        (rate,) = [one.value for one in rates if one.start == row.start]
        assert rate == pytest.approx(len(taken) * DAY / (end - start))
    if not by:
        assert [r[2:7] for r in hazards.over_time()] == [once[2:7]]
    assert hazards.over_facets().over_time()[0].events == once.events


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_the_running_bucket_is_partial(declared: Any, late: int) -> None:
    """Until the instant at which it ends, when the next one has begun."""
    declared.flows.clear()
    hot, now = stock_of(declared), MIDNIGHT + timedelta(microseconds=late)
    flow = Flow("flow", sources=[hot], sinks=[None])
    cutting: Any = {"every": "day", "tz": BERLIN}
    span = {"start": FIRST, "end": END, **cutting}
    with clock(now), logged([event_of(n) for n in range(5)]):
        found: Any = {
            "inflow": hot.inflow(**span),
            "extremes": hot.extremes(**span),
            "hazard": flow.hazard(**span),
            "rates": flow.rates(**span),
            "roll_forward": roll_forward([hot], [flow], FIRST, END, cutting)["stock"],
        }
        told = {name: [(row.start, row.is_partial) for row in rows] for name, rows in found.items()}
        for table in (hot.dwell(**span), hot.lifecycle(**span)):
            at, partial = table.columns.index("start"), table.columns.index("is_partial")
            told[table.columns] = [(row[at], row[partial]) for row in table]

    last = MIDNIGHT if late >= 0 else MIDNIGHT - timedelta(days=1)
    for name, rows in told.items():
        begun = [(start, is_partial) for start, is_partial in rows if start <= now]
        assert begun[-1] == (last, True), name
        assert not any(is_partial for _, is_partial in begun[:-1]), name


def test_level_is_never_added_up(declared: Any) -> None:
    """Three days of five items are five items, and fifteen item-days."""
    stock = stock_of(declared)
    rows = [event_of(n) for n in range(5)]
    with logged(rows):
        series = [
            ask(FIRST, FIRST + timedelta(days=3), every="day")
            for ask in (stock.opening, stock.closing, stock.average_level, stock.exposure)
        ]

    assert [one.over_time()[0].value for one in series] == [5, 5, 5.0, 15.0]
    assert [one.unit for one in series] == ["item", "item", "item", "item day"]


def event_of(n: int) -> Event:
    """Return an entry into hot at the start."""
    from uuid import UUID

    return event(UUID(int=n + 1), 1, START, kind="entered", source=None, target="hot")


def test_unknown_is_none(declared: Any) -> None:
    """Of an empty stock no ratio is known, and none is 0."""
    stock = stock_of(declared)
    asked: Any = {"every": END - FIRST}
    ratios = (stock.churn, stock.turnover, stock.days_in_stock, stock.cover)

    assert [ask(FIRST, END, **asked)[0].value for ask in ratios] == [None] * 4
    assert stock.average_level(FIRST, END, **asked)[0].value == 0.0
    assert stock.average_level(NOW, END + timedelta(days=99), **asked)[0].value is None
    assert stock.extremes(FIRST, END, **asked)[0][2:4] == (0, 0)
    assert stock.closing(NOW + timedelta(days=1), NOW + timedelta(days=2), **asked) == []


def test_what_does_not_add_up_is_refused(declared: Any) -> None:
    """Peaks by facet, the hazard of the outside, a confidence that is none."""
    stock = stock_of(declared)
    arriving = Flow("arriving", sources=[None], sinks=[stock])
    leaving = Flow("leaving", sources=[stock], sinks=[None])

    with pytest.raises(InvalidMeasure, match="Peaks by 'channel' do not add up"):
        stock.extremes(FIRST, END, every="day", by="channel").over_facets()
    with pytest.raises(InvalidMeasure, match="'arriving' comes from the outside"):
        arriving.hazard(FIRST, END, every="day")
    with pytest.raises(InvalidMeasure, match=r"between 0 and 1, such as 0.95, not 95"):
        leaving.hazard(FIRST, END, every="day", confidence=95)


def test_each_measure_is_one_statement(declared: Any, django_assert_num_queries: Any) -> None:
    """Two statements see two snapshots."""
    stock = stock_of(declared)
    flow = Flow("leaving", sources=[stock], sinks=[None])
    for ask in (stock.churn, stock.extremes, flow.hazard, flow.rates):
        with django_assert_num_queries(1):
            ask(FIRST, END, every="day", by="owner__team")


def test_rows_become_frames(declared: Any) -> None:
    """Each column has its name; what was not recorded is a text."""
    stock = stock_of(declared)
    rows = [event_of(n) for n in range(2)]
    rows[0].target_facets = '{"channel":"web"}'
    with logged(rows):
        series: MeasureSeries = stock.closing(FIRST, END, every="week", by="channel")
        plain = stock.series(FIRST, END, every="week", by="channel")
    polars, pandas = series.to_polars(), series.to_pandas()

    assert list(pandas.columns) == polars.columns == list(series.columns)
    assert list(plain.to_pandas().columns) == ["start", "end", "value", "channel"]
    assert polars["channel"].to_list() == ["web", "not recorded"] * 2
    assert pandas["value"].tolist() == polars["value"].to_list() == [1] * 4
    assert str(pandas["start"].dt.tz) == "UTC"


@pytest.mark.parametrize(
    ("name", "facet", "values"),
    [
        ("series", "value", [7, 8]),
        ("closing", "value", [7, 8]),
        ("hazard", "value", [7, 8]),
        ("retention", "size", ["big", "small"]),
    ],
)
def test_a_facet_named_as_a_column_is_another(
    declared: Any, name: str, facet: str, values: list[Any]
) -> None:
    """One of two columns of one name would be lost in a frame."""
    here = Stock("here", Parcel.state, states=["here"])
    asked = Flow("sending", sources=[here], sinks=[None]) if name == "hazard" else here
    Parcel.objects.create(value=7)
    Parcel.objects.create(value=8, size="big")
    day = timedelta(days=1)
    found = getattr(asked, name)(NOW - day, NOW + day, every=2 * day, by=facet)
    pandas, polars = found.to_pandas(), found.to_polars()

    assert list(pandas.columns) == polars.columns == list(found.columns)
    assert pandas["facet"].tolist() == polars["facet"].to_list() == values
    assert pandas[facet].tolist() == [getattr(row, facet) for row in found]


def test_weeks_begin_as_the_settings_say(declared: Any, settings: Any) -> None:
    """Without a setting on Monday."""
    stock = stock_of(declared)
    settings.STOCKFLOW_FIRST_WEEKDAY = "sunday"
    series = stock.closing(START, END, every="week")

    assert [row.start.strftime("%a") for row in series] == ["Thu", "Sun"]
    assert [row.start for row in stock.series(START, END, every="week")] == [
        row.start for row in series
    ]


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_missing_extra_is_named(declared: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    series = stock_of(declared).closing(FIRST, END, every="week")
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ModuleNotFoundError, match=rf"django-stockflow\[{name}\]"):
        getattr(series, f"to_{name}")()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", (2026, 3, 29), 23, id="berlin-spring"),
        pytest.param("Europe/Berlin", (2025, 10, 26), 25, id="berlin-autumn"),
        pytest.param("Australia/Lord_Howe", (2026, 4, 5), 24.5, id="half-an-hour-more"),
        pytest.param("Asia/Kathmandu", (2026, 3, 29), 24, id="a-quarter-hour-off"),
        pytest.param("America/Santiago", (2025, 9, 7), 23, id="without-midnight"),
        pytest.param("Pacific/Apia", (2011, 12, 29), 24, id="before-the-day-that-never-was"),
    ],
)
def test_days_have_their_true_length(
    declared: Any, zone: str, day: tuple[int, int, int], hours: float
) -> None:
    """One item is exposed for as long as the local day lasts, and is one item on average."""
    stock, tz = stock_of(declared), ZoneInfo(zone)
    rows = [event_of(0)]
    rows[0].occurred_at = to_micros(datetime(2011, 1, 1, tzinfo=tz))
    noon = datetime(*day, 12, tzinfo=tz)
    with logged(rows):
        ask: Any = {"start": noon, "end": noon + timedelta(days=4), "every": "day", "tz": tz}
        ask["start"] -= timedelta(days=2)
        exposure, average = stock.exposure(**ask), stock.average_level(**ask)
        peaks = stock.extremes(**ask)

    (row,) = [one for one in exposure if one.start <= noon < one.end]
    assert row.value == pytest.approx(hours / 24)
    assert {one.value for one in average} == {1.0}
    assert {one[2:4] for one in peaks} == {(1, 1)}

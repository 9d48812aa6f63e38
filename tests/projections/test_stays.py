"""Stays, and what is made of them, equal brute force over the events."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.cells import encode_facets
from stockflow.domain.errors import InvalidInstant, InvalidMeasure
from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.measures.spells import quantile
from stockflow.domain.measures.sums import DAY
from stockflow.models import Event
from stockflow.projections import Process, Stock
from stockflow.testing import clock
from tests.crm.models import Lead, Ticket
from tests.projections.brute import Brute, by_channel, lives, whole
from tests.projections.histories import (
    NOW,
    START,
    STATES,
    event,
    histories,
    instants,
    logged,
    micros,
    quick,
)

pytestmark = pytest.mark.django_db
FIRST, END = START + timedelta(days=2), START + timedelta(days=9)
states = st.sets(st.sampled_from(STATES), min_size=1)
Stay = tuple[str, str, int, int | None, str | None, bool, bool]


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def stock_of(declared: Any, states: Any = ("hot",), slug: str = "stock") -> Stock:
    """Return a stock of leads."""
    declared.stocks.pop(slug, None)
    return Stock(slug, Lead.temperature, states=states)


def stays_of(
    events: list[Event], states: set[str], before: int, *, merged: bool = True
) -> list[Stay]:
    """Walk each life, event by event."""
    found: list[Stay] = []
    for key, own in lives(events).items():
        stay: Stay | None = None
        for e in (e for e in own if micros(e) < before):
            inside, seen = e.target in states, e.kind in ("entered", "moved", "left")
            restarts = not merged and inside and (seen or e.source != e.target)
            if stay is not None and (not inside or restarts):
                found.append((*stay[:3], micros(e), e.target, stay[5], not seen))
                stay = None
            if inside and stay is None:
                stay = (key, str(e.target), micros(e), None, None, not seen, True)
        if stay is not None:
            found.append(stay)
    return sorted(found, key=repr)


@quick
@given(events=histories, states=states, at=instants, merged=st.booleans())
def test_stays_are_brute_force(
    declared: Any, events: list[Event], states: set[str], at: datetime, merged: bool
) -> None:
    """Each as it looked at the instant, by state or merged."""
    stock = stock_of(declared, states)
    with logged(events):
        found = stock.stays(at, merged=merged)

    rows = [
        (
            str(s.lifecycle),
            s.state,
            to_micros(s.entered),
            None if s.left is None else to_micros(s.left),
            *s[4:],
        )
        for s in found
    ]
    assert sorted(rows, key=repr) == stays_of(events, states, to_micros(at) + 1, merged=merged)
    assert [s.entered for s in found] == sorted(s.entered for s in found)


@quick
@given(events=histories, states=states)
def test_dwell_is_brute_force(declared: Any, events: list[Event], states: set[str]) -> None:
    """By the bucket of the exit, of stays seen from entry to exit."""
    stock = stock_of(declared, states)
    with logged(events):
        found = stock.dwell(FIRST, END, every="day")
        without = stock.dwell(FIRST, END, every="day", passing=False)

    for row, other in zip(found, without, strict=True):
        start, end, completed, mean, median, _, shortest, longest, passing, _, _ = row
        durations = sorted(
            left - entered
            for _, _, entered, left, _, truncated, censored in stays_of(events, states, 2**60)
            if left is not None and not truncated and not censored
            if to_micros(start) <= left < to_micros(end)
        )
        assert (completed, passing) == (len(durations), durations.count(0))
        assert other[2] == completed - passing
        if durations:
            assert mean == pytest.approx(sum(durations) / len(durations) / DAY)
            assert median == quantile(durations, 1, 2) / DAY
            assert (shortest, longest) == (durations[0] / DAY, durations[-1] / DAY)
        else:
            assert (mean, median, shortest, longest) == (None,) * 4


@quick
@given(events=histories, states=states, by=st.sampled_from([None, "channel"]))
def test_survival_counts_every_stay(
    declared: Any, events: list[Event], states: set[str], by: str | None
) -> None:
    """All stays are observed or truncated; with late entry, those that the window sees."""
    stock, until = stock_of(declared, states), to_micros(END)
    with logged(events):
        found = stock.survival(by=by).values()
        late = stock.survival(FIRST, END, by=by).values()
    every = stays_of(events, states, 2**60)
    seen = [s for s in every if s[2] < until and (s[3] is None or s[3] >= to_micros(FIRST))]

    assert sum(one.observed for one in found) == sum(not s[5] for s in every)
    assert sum(one.truncated for one in found) == sum(s[5] for s in every)
    assert sum(one.observed + one.truncated for one in late) == len(seen)
    for one in (*found, *late):
        for row in one:
            assert sum(row[1:]) == pytest.approx(1)


def test_survival_of_decays(declared: Any) -> None:
    """Hot leads cool after a week: all of them stay so long, and none longer."""
    stock = stock_of(declared)
    with clock(START) as time:
        for _ in range(3):
            Lead.objects.create()
        time.advance(timedelta(days=8))
        for lead in Lead.objects.all()[:2]:
            lead.rekindle()
            lead.save()
        (curve,) = stock.survival().values()

    assert curve.median == timedelta(days=7)
    assert curve.restricted_mean(timedelta(days=7)) == timedelta(days=7)
    assert curve.at(timedelta(days=7))["warm"] == pytest.approx(2 / 3)
    assert curve.remaining(timedelta(days=7)) == pytest.approx(1 / 3)
    assert (curve.observed, curve.truncated, curve.exits) == (5, 0, ("warm",))
    assert curve.columns == ("age", "survival", "warm")
    assert curve.to_pandas().shape == (1, 3)
    assert curve.longest == timedelta(days=8)


@quick
@given(events=histories, states=states, at=instants, by=st.sampled_from([None, "channel"]))
def test_ages_are_brute_force(
    declared: Any, events: list[Event], states: set[str], at: datetime, by: str | None
) -> None:
    """Of the members at the instant; who was adopted has no known age."""
    stock, bands = stock_of(declared, states), [timedelta(days=1), timedelta(days=3)]
    with logged(events):
        found = stock.ages(at, bands=bands, by=by)
    own = [s for s in stays_of(events, states, to_micros(at) + 1) if s[3] is None]
    known = [to_micros(at) - s[2] for s in own if not s[5]]

    assert sum(row[0] for row in found) == len(own)
    assert sum(row[1] for row in found) == len(own) - len(known)
    bounds = [0, DAY, 3 * DAY, 2**60]
    assert [sum(row[2][n] for row in found) for n in range(3)] == [
        sum(bounds[n] <= age < bounds[n + 1] for age in known) for n in range(3)
    ]
    assert sum(row[6] for row in found) == pytest.approx(sum(known) / DAY)


@quick
@given(events=histories, states=states, now=st.sampled_from([FIRST + timedelta(days=4), NOW]))
def test_lifecycle_is_brute_force(
    declared: Any, events: list[Event], states: set[str], now: datetime
) -> None:
    """Retained, new and resurrected are the closing level, retained and dormant the opening."""
    stock = stock_of(declared, states)
    with clock(now), logged(events):
        found = stock.lifecycle(FIRST, END, every="day")
        split = stock.lifecycle(FIRST, END, every="day", by="channel")
    brute = Brute(events, states, whole, None)
    for start, end, *counts, _, _ in found:
        first, last = to_micros(start), min(to_micros(end), to_micros(now) + 1)
        retained, new, resurrected, dormant, transient = counts
        assert retained + new + resurrected == brute.level(last)
        assert retained + dormant == brute.level(first)
        every = stays_of(events, states, last)
        there = {s[0] for s in every if s[3] is None}
        was = {s[0] for s in stays_of(events, states, first) if s[3] is None}
        ever = {s[0] for s in every if s[2] < first}
        inside = {s[0] for s in every if s[2] >= first}
        assert (new, resurrected) == (len(there - was - ever), len((there - was) & ever))
        assert transient == len(inside - there - was)
        parts = [row[2:7] for row in split if row[0] == start]
        if parts:
            assert [sum(part) for part in zip(*parts, strict=True)] == counts


@quick
@given(
    events=histories,
    states=states,
    or_after=st.booleans(),
    days=st.sampled_from([2, (END - FIRST).days]),
)
def test_retention_is_brute_force(
    declared: Any, events: list[Event], states: set[str], or_after: bool, days: int
) -> None:
    """Of those who first came in a bucket, who is there at its end and at later ones, or after."""
    now = START + timedelta(days=6)
    stock = stock_of(declared, states)
    with clock(now), logged(events):
        asked: Any = {"end": FIRST + timedelta(days=days), "every": "day", "or_after": or_after}
        found = stock.retention(FIRST, **asked)
        split = stock.retention(FIRST, **asked, by="channel")
        facets = {
            row.facet for row in stock.retention(FIRST, **asked | {"or_after": False}, by="channel")
        }
    every = stays_of(events, states, to_micros(now) + 1)
    firsts: dict[str, Stay] = {}
    for s in sorted(every, key=lambda s: s[2]):
        firsts.setdefault(s[0], s)
    ends = [row.end for row in found]

    assert len(found) == min(days, 5)
    assert {row.facet for row in split} == facets
    for n, row in enumerate(found):
        cohort = {
            k
            for k, s in firsts.items()
            if not s[5] and to_micros(row.start) <= s[2] < to_micros(row.end)
        }
        assert row.size == len(cohort)
        for end, number in zip(ends[n:], row.members, strict=True):
            if end > now:
                assert number is None
                continue
            at = to_micros(end)
            there = {
                s[0]
                for s in every
                if (s[2] < at and (s[3] is None or s[3] >= at)) or (or_after and s[2] >= at)
            }
            assert number == len(there & cohort)


def test_who_came_back_after_the_range_was_there_after_it(declared: Any) -> None:
    """And who came first after it is of no cohort, nor is the facet value."""
    hot, day = stock_of(declared), timedelta(days=1)
    back, late = UUID(int=1), UUID(int=2)
    web, fair = encode_facets({"channel": "web"}), encode_facets({"channel": "fair"})
    rows = [
        event(back, 1, FIRST, kind="entered", source=None, target="hot", facets=(None, web)),
        event(back, 2, FIRST + day, kind="moved", source="hot", target="won", facets=(web, web)),
        event(back, 3, NOW - day, kind="moved", source="won", target="hot", facets=(web, web)),
        event(late, 1, NOW - day, kind="entered", source=None, target="hot", facets=(None, fair)),
    ]
    asked: Any = {"end": FIRST + 3 * day, "every": "day", "by": "channel"}
    with logged(rows):
        found = hot.retention(FIRST, **asked, or_after=True)
        there = hot.retention(FIRST, **asked)

    assert [(row.size, row.members, row.facet) for row in found] == [
        (1, (1, 1, 1), "web"),
        (0, (0, 0), "web"),
        (0, (0,), "web"),
    ]
    assert [row.members for row in there] == [(1, 0, 0), (0, 0), (0,)]


@quick
@given(events=histories, days=st.integers(0, 6), first_only=st.booleans())
def test_conversion_is_brute_force(
    declared: Any, events: list[Event], days: int, first_only: bool
) -> None:
    """An entry converts if its object comes into the other stock in time; young ones wait."""
    within, now = timedelta(days=days), START + timedelta(days=10)
    hot, won = stock_of(declared), stock_of(declared, ["won"], "won")
    with clock(now), logged(events):
        found = hot.conversion(won, FIRST, END, within=within, every="day", first_only=first_only)
    counts: Counter[tuple[int, str]] = Counter()
    for own in lives(events).values():
        comes = [e for e in own if e.target == "hot" and e.source != "hot"]
        for e in comes[:1] if first_only else comes:
            if e.kind not in ("entered", "moved") or not FIRST <= from_micros(micros(e)) < END:
                continue
            day = (micros(e) - to_micros(FIRST)) // DAY
            if from_micros(micros(e)) + within > now:
                counts[day, "immature"] += 1
                continue
            counts[day, "entries"] += 1
            counts[day, "converted"] += any(
                later.version > e.version
                and later.target == "won"
                and later.source != "won"
                and micros(later) <= micros(e) + days * DAY
                for later in own
            )

    for n, (_, _, entries, converted, immature, share, _, _) in enumerate(found):
        assert (entries, converted, immature) == (
            counts[n, "entries"],
            counts[n, "converted"],
            counts[n, "immature"],
        )
        assert share == (converted / entries if entries else None)


@quick
@given(events=histories, states=states)
def test_little_holds_exactly(declared: Any, events: list[Event], states: set[str]) -> None:
    """The stays' average level is that of the changes, and items times days per item."""
    stock = stock_of(declared, states)
    with logged(events):
        found = stock.little(FIRST, END, every="day")
        levels = stock.average_level(FIRST, END, every="day")
        split = stock.little(FIRST, END, every="day", by="channel")

    for row, level in zip(found, levels, strict=True):
        assert row[2] == pytest.approx(level.value)
        assert row[2] == pytest.approx(row[3] * (row[4] or 0))
    assert split.columns[-1] == "channel"


@quick
@given(events=histories, start=instants, end=instants)
def test_alluvial_conserves_members(
    declared: Any, events: list[Event], start: datetime, end: datetime
) -> None:
    """Rows sum to the opening level of each state, columns to the closing level."""
    if start >= end:
        return
    declared.processes.clear()
    process = Process("sales", stocks=[stock_of(declared), stock_of(declared, ["won"], "won")])
    with logged(events):
        (table,) = process.alluvial(start, end).values()

    for state in STATES:
        brute = Brute(events, {state}, whole, None)
        assert sum(r.number for r in table if r.was == state) == brute.level(to_micros(start))
        assert sum(r.number for r in table if r.became == state) == brute.level(to_micros(end))
    assert all(row.number > 0 and (row.was or row.became) for row in table)


def test_statements(declared: Any, django_assert_num_queries: Any) -> None:
    """Each answer is one statement, conversion too."""
    hot, won = stock_of(declared), stock_of(declared, ["won"], "won")
    process = Process("sales", stocks=[hot, won])
    asked: Any = {"every": "day", "by": "channel"}
    for ask in (
        hot.stays,
        hot.survival,
        hot.ages,
        lambda: hot.dwell(FIRST, END, **asked),
        lambda: hot.lifecycle(FIRST, END, **asked),
        lambda: hot.retention(FIRST, END, **asked),
        lambda: hot.little(FIRST, END, **asked),
        lambda: hot.conversion(won, FIRST, END, within=timedelta(1), **asked),
        lambda: process.alluvial(FIRST, END),
    ):
        with django_assert_num_queries(1):
            ask()


def test_rows_become_frames(declared: Any) -> None:
    """Tables have named columns with units."""
    Lead.objects.create()
    hot = stock_of(declared)
    table = hot.lifecycle(NOW, NOW + timedelta(days=2), every="day", by="channel")

    assert table.to_polars()["new"].to_list() == table.to_pandas()["new"].tolist() == [1]
    assert table.columns[2:] == (
        *("retained", "new", "resurrected", "dormant", "transient", "is_partial", "channel"),
    )
    assert table.units["new"] == "item"
    assert hot.stays().to_polars()["state"].to_list() == ["hot"]
    assert hot.stays().to_pandas().shape == (1, 7)


def test_what_cannot_be_asked_is_refused(declared: Any) -> None:
    """The error says what, where and what to do."""
    hot = stock_of(declared)
    ticket = Stock("ticket", Ticket.state, states=["new"])
    later = NOW + timedelta(days=1)

    with pytest.raises(InvalidInstant, match="nobody knows a stay yet to come"):
        hot.stays(later)
    with pytest.raises(InvalidInstant, match="nobody knows yet who will be where"):
        Process("sales", stocks=[hot]).alluvial(FIRST, later)
    with pytest.raises(InvalidMeasure, match=r"from crm.Lead.temperature to crm.Ticket.state"):
        hot.conversion(ticket, FIRST, END, within=timedelta(1), every="day")
    with pytest.raises(InvalidMeasure, match="within must be 0 or longer"):
        hot.conversion(hot, FIRST, END, within=timedelta(-1), every="day")
    with pytest.raises(InvalidMeasure, match="must ascend"):
        hot.ages(bands=[timedelta(2), timedelta(1)])


def test_by_channel_reads_text() -> None:
    """The brute force has names for what is not recorded."""
    assert by_channel("{}") == "not recorded"

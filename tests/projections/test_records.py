"""Records: counts as rows, equal to what the log says, now and for the past."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from stockflow import context
from stockflow.domain.errors import InvalidInstant, InvalidMeasure
from stockflow.domain.intervals import Bucket
from stockflow.errors import InvalidDeclaration
from stockflow.models import PeriodicRun
from stockflow.projections import Facet, Flow, Process, Stock
from stockflow.projections.models import FlowRecord, StockRecord
from stockflow.scheduling import register
from stockflow.scheduling.periodic import JOBS
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import Clock, clock
from tests.crm.models import Lead, Rep
from tests.projections.locking import before, elsewhere
from tests.stockflow.reading import trail

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("jobs")]


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(NOW) as time:
        yield time


def hot(**options: Any) -> Stock:
    """Return the stock of hot leads."""
    return Stock("hot", Lead.temperature, states=["hot"], **options)


def parts(record: Any) -> dict[tuple[str, Any], int]:
    """Return the parts of a record, of which each value has one."""
    found = {(part.facet, part.facet_value): part.count for part in record.facets.all()}
    assert len(found) == record.facets.count()
    return found


def record(*args: Any) -> str:
    """Call the subcommand; what it said."""
    out = StringIO()
    call_command("stockflow", "record", *args, stdout=out, no_color=True)
    return out.getvalue()


def grow(time: Clock) -> None:
    """Let a lead come on each of four days, and one be won."""
    north = Rep.objects.create(name="Ann", team="north")
    for n, channel in enumerate(["web", "web", "ads", "web"]):
        lead = Lead.objects.create(channel=channel, owner=north if n % 2 else None)
        if n == 3:
            lead.win(5)
            lead.save()
        time.advance(DAY)


def test_a_record_is_the_count_with_its_parts(time: Clock) -> None:
    """One row for the instant, one for each facet value that has an object."""
    stock = hot(facets=[Facet("channel"), (Facet("team", "team", labels={"north": "N"}), "owner")])
    grow(time)
    saved = stock.save_count()

    assert (saved.stock, saved.timestamp, saved.count, saved.is_sampled) == (
        "hot",
        time.at,
        stock.count(),
        False,
    )
    assert saved.count == 3
    assert parts(saved) == {
        ("channel", "web"): 2,
        ("channel", "ads"): 1,
        ("team", "north"): 1,
        ("team", None): 2,
    }
    assert {part.label for part in saved.facets.filter(facet="team")} == {"N", "none"}
    assert str(saved) == "hot at 2026-03-06 09:00:00: 3"
    assert stock.most_recent_record() == saved


@pytest.mark.django_db(transaction=True)
def test_writers_of_a_record_come_one_by_one(time: Clock) -> None:
    """One that restates it has it locked, and leaves it the row that it was."""
    grow(time)
    stock = hot(facets=[Facet("channel")])
    known = stock.save_count(NOW)
    StockRecord.objects.update(count=99)
    with before(
        'UPDATE "stockflow', lambda: elsewhere(lambda: list(stock.backfill([NOW])))
    ) as other:
        (written,) = stock.backfill([NOW])
    record = StockRecord.objects.get()

    assert other == [None]  # it met the lock
    assert written.restated == 1
    assert (record.pk, record.count, parts(record)) == (known.pk, 1, {("channel", "web"): 1})


def test_most_recent_record_of_none() -> None:
    """There is none before the first one."""
    assert hot().most_recent_record() is None


def test_a_record_is_written_once_for_an_instant(time: Clock) -> None:
    """What became known since is in the row that was there."""
    stock = hot(facets=[Facet("channel")])
    stock.save_count()
    with context(at=time.at - DAY):
        Lead.objects.create()
    again = stock.save_count(time.at)

    assert list(StockRecord.objects.values_list("count", flat=True)) == [1]
    assert parts(again) == {("channel", "web"): 1}


def test_records_of_the_past_are_the_projection_then(time: Clock) -> None:
    """Each equals the level as of its instant, what happened at that very instant included."""
    stock = hot(facets=[Facet("channel")])
    grow(time)
    instants = [NOW + n * DAY / 2 for n in range(9)]
    (written,) = stock.backfill(instants)

    assert (written.new, written.restated, written.unchanged) == (9, 0, 0)
    for one in stock.records:
        assert one.count == stock.count(at=one.timestamp)
        assert parts(one) == {
            ("channel", value): n
            for value, n in stock.count(at=one.timestamp, by="channel").items()
        }


def test_chunks_of_records_agree(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a transaction writes."""
    monkeypatch.setattr("stockflow.projections.recording.CHUNK", 2)
    stock = hot()
    grow(time)
    written = list(stock.backfill([NOW + n * DAY for n in range(5)]))

    assert [one.new for one in written] == [2, 2, 1]
    assert [one.count for one in stock.records.order_by("timestamp")] == [1, 2, 3, 3, 3]


def test_the_schedule_writes_records(time: Clock) -> None:
    """At the frequency, as of the period's start; missed periods are caught up."""
    stock = hot(frequency="daily")
    list(run_jobs())
    grow(time)
    list(run_jobs())

    assert [(one.timestamp.day, one.count) for one in stock.records] == [
        (6, 3),
        (5, 3),
        (4, 2),
        (3, 1),
        (2, 0),
    ]
    assert PeriodicRun.objects.first().name == "stockflow.count hot"  # type: ignore[union-attr]


def test_each_stock_is_registered_by_its_method(time: Clock) -> None:
    """As the ancestor's users do; each stock's method is a job of its own."""
    first, second = hot(), Stock("won", Lead.temperature, states=["won"])
    register("daily", first.save_count)
    register("daily", first.save_count)
    register("daily", second.save_count)
    list(run_jobs())

    assert [name.rsplit(".", 1)[1] for name in JOBS] == [
        "save_count of hot",
        "save_count of won",
    ]
    assert set(StockRecord.objects.values_list("stock", "timestamp__hour")) == {
        ("hot", 0),
        ("won", 0),
    }


def test_hooks_decay_by_counting(time: Clock) -> None:
    """The ancestor's example: what was hot for a week is warm when the warm ones are counted."""
    told: list[str] = []

    def cool(stock: Stock) -> None:
        for lead in Lead.objects.filter(temperature="hot"):
            if lead.temperature_since <= time.at - 5 * DAY:
                lead.cool()
                lead.save()

    warm = Stock(
        "warm",
        Lead.temperature,
        states=["warm"],
        before_count=[cool],
        after_count=[lambda stock, saved: told.append(f"{stock.slug} {saved.count}")],
    )
    Lead.objects.create()
    time.advance(6 * DAY)
    saved = warm.save_count()

    assert saved.count == 1
    assert told == ["warm 1"]


def test_hooks_decay_along_the_whole_chain(time: Clock) -> None:
    """Hot, warm, cold: before each is counted, it takes who was long enough in the one before."""

    def taking(source: str, transition: str, after: timedelta) -> Any:
        def take(stock: Stock) -> None:
            since = {"temperature": source, "temperature_since__lte": time.at - after}
            for lead in Lead.objects.filter(**since):
                getattr(lead, transition)()
                lead.save()

        return take

    cool, chill = taking("hot", "cool", 3 * DAY), taking("warm", "chill", 5 * DAY)
    warm = Stock("warm", Lead.temperature, states=["warm"], before_count=[cool])
    cold = Stock("cold", Lead.temperature, states=["cold"], before_count=[chill])
    stocks, counted, leads = (cold, warm, hot()), [], []
    for day in range(11):
        leads += [Lead.objects.create()] if day in {0, 2} else []
        counted.append(tuple(stock.save_count().count for stock in stocks))
        time.advance(DAY)

    assert counted == [
        *[(0, 0, 1)] * 2,
        (0, 0, 2),
        *[(0, 1, 1)] * 2,  # the first is warm after three days
        *[(0, 2, 0)] * 3,
        *[(1, 1, 0)] * 2,  # and cold after five more
        (2, 0, 0),
    ]
    logged = [tuple(stock.count(at=NOW + day * DAY) for stock in stocks) for day in range(11)]
    assert logged == counted
    for lead in leads:
        assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>cold"]


def test_a_hook_that_fails_writes_nothing() -> None:
    """The schedule's run shows the error, and no record says that it was counted."""

    def fail(stock: Stock) -> None:
        raise ValueError("not today")

    stock = hot(before_count=[fail], frequency="daily")
    (run,) = run_jobs()

    assert "not today" in run.error
    assert not stock.records.exists()


def test_an_instant_to_come_is_refused(time: Clock) -> None:
    """Nobody knows it yet."""
    with pytest.raises(InvalidInstant, match="'hot' cannot be counted at 2026-03-03T09"):
        hot().save_count(NOW + DAY)


def winning(**options: Any) -> Flow:
    """Return the flow from hot to won."""
    won = Stock("won", Lead.temperature, states=["won"])
    return Flow("winning", sources=[hot()], sinks=[won], **options)


def test_a_flow_record_is_the_count_of_its_interval(time: Clock) -> None:
    """With a row for each facet value, the end excluded."""
    flow = winning(facets=[Facet("channel")])
    grow(time)
    saved = flow.save_count(NOW, time.at)

    assert (saved.flow, saved.start, saved.end, saved.count) == ("winning", NOW, time.at, 1)
    assert parts(saved) == {("channel", "web"): 1}
    assert flow.most_recent_record() == saved
    assert str(saved) == "winning from 2026-03-02 09:00:00 to 2026-03-06 09:00:00: 1"


def test_the_schedule_records_what_has_passed(time: Clock) -> None:
    """The interval that ended when the period began."""
    flow = winning(frequency="daily")
    grow(time)
    list(run_jobs())
    time.advance(DAY)
    list(run_jobs())

    assert [(one.start.day, one.end.day, one.count) for one in flow.records] == [
        (6, 7, 0),
        (5, 6, 1),
    ]


def test_flow_records_of_the_past_add_up(time: Clock) -> None:
    """Adjoining intervals sum to the whole; a late entry restates its own."""
    flow = winning()
    grow(time)
    cut = [Bucket(NOW + n * DAY, NOW + (n + 1) * DAY) for n in range(4)]
    list(flow.backfill(cut))
    late = Lead.objects.first()
    assert late is not None
    with context(at=NOW + DAY / 2):
        late.win(3)
        late.save()
    (again,) = flow.backfill(cut)

    assert (again.new, again.restated, again.unchanged) == (0, 1, 3)
    assert [one.count for one in flow.records.order_by("start")] == [1, 0, 0, 1]
    assert sum(one.count for one in FlowRecord.objects.all()) == flow.count(NOW, time.at)


def test_a_flow_is_not_recorded_before_its_end(time: Clock) -> None:
    """What is still to come would be missing."""
    with pytest.raises(InvalidInstant, match="'winning' cannot be recorded until"):
        winning().save_count(NOW, NOW + DAY)


def test_the_command_fills_the_past_and_restates(time: Clock) -> None:
    """New ones, those that are otherwise by now, and those that are the same."""
    hot(frequency="daily", facets=[Facet("channel")])
    Flow(
        "arriving",
        sources=[None],
        sinks=[Stock("won", Lead.temperature, states=["won"])],
        frequency="daily",
    )
    grow(time)
    first = record("--start", "2026-03-02")
    with context(at=NOW + DAY / 2):
        Lead.objects.create()
    second = record("hot", "--start", "2026-03-02T00:00:00+00:00", "--end", "2026-03-05")

    assert (
        first == "hot: 5 new, 0 restated, 0 unchanged.\narriving: 4 new, 0 restated, 0 unchanged.\n"
    )
    assert second == "hot: 0 new, 3 restated, 1 unchanged.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["tepid", "--start", "2026-03-01"], "no stock or flow 'tepid'", id="unknown"),
        pytest.param(["hot", "--start", "March"], "--start is no instant: 'March'", id="instant"),
        pytest.param(["hot", "--start", "2026-03-01"], "no frequency of its own", id="every"),
        pytest.param(
            ["--start", "2026-03-01"], "No exact stock or flow has a frequency", id="none"
        ),
        pytest.param(["staff", "--start", "2026-03-01"], "nobody can count its past", id="sampled"),
    ],
)
def test_what_the_command_cannot_do_is_said(arguments: list[str], message: str) -> None:
    """With what to do instead."""
    hot()
    Stock("staff", queryset=User.objects.filter(is_staff=True), frequency="daily")

    with pytest.raises(CommandError, match=message):
        record(*arguments)


@pytest.fixture(name="staff")
def _staff() -> Stock:
    """Return a sampled stock with two objects, one of them active."""
    User.objects.create(username="a", is_staff=True)
    User.objects.create(username="b", is_staff=True, is_active=False)
    User.objects.create(username="c")
    return Stock(
        "staff",
        queryset=User.objects.filter(is_staff=True),
        facets=[Facet("active", "is_active")],
        frequency="daily",
    )


def test_a_sampled_stock_is_marked(staff: Stock) -> None:
    """In its repr, its definition and its records."""
    assert (staff.is_sampled, hot().is_sampled) == (True, False)
    assert repr(staff) == "<SampledStock: staff>"
    assert staff.definition.startswith("sampled: auth.User, where ")
    assert "is_staff" in staff.definition
    assert staff.subject_model is User
    assert str(staff.save_count()).startswith("staff (sampled) at ")


def test_a_sampled_stock_is_counted_now(staff: Stock) -> None:
    """By its query, whole and by its facets."""
    assert staff.count() == staff.all().count() == 2
    assert staff.count(by="active") == {True: 1, False: 1}


def test_a_sampled_stock_has_the_past_that_was_recorded(staff: Stock, time: Clock) -> None:
    """And no other: the error names what there is."""
    User.objects.filter(username="b").delete()
    list(run_jobs())
    at = time.at
    User.objects.create(username="d", is_staff=True)
    time.advance(DAY)
    list(run_jobs())

    assert staff.count(at=at) == 1
    assert staff.count(at=time.at, by="active") == {True: 2}
    assert [
        row.value for row in staff.series(at - at.hour * DAY / 24, time.at + DAY / 2, every="day")
    ] == [1, 2]
    with pytest.raises(
        InvalidInstant, match=r"was not counted at 2026-03-02T12.*it was at 2026-03-02T09"
    ):
        staff.count(at=NOW + DAY / 8)
    with pytest.raises(InvalidInstant, match="was not counted from 2026-02-28T09"):
        staff.series(NOW - 2 * DAY, NOW, every="day")


def test_a_sampled_stock_skips_what_it_missed(staff: Stock, time: Clock) -> None:
    """What was not counted in time is not known any more."""
    list(run_jobs())
    time.advance(5 * DAY)
    list(run_jobs())

    assert [one.timestamp for one in staff.records] == [NOW + 5 * DAY, NOW]


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda stock: stock.opening(NOW - DAY, NOW, every="day"), id="measure"),
        pytest.param(lambda stock: stock.stays(), id="stays"),
        pytest.param(lambda stock: stock.extremes(NOW - DAY, NOW, every="day"), id="peak"),
        pytest.param(lambda stock: stock.retention(NOW - DAY, NOW, every="day"), id="cohorts"),
        pytest.param(lambda stock: stock.members(), id="members"),
        pytest.param(lambda stock: stock.backfill([NOW]), id="backfill"),
        pytest.param(lambda stock: stock.count(as_known_at=1), id="known"),
        pytest.param(
            lambda stock: stock.restatement(NOW - DAY, NOW, every="day", earlier=1), id="restated"
        ),
        pytest.param(
            lambda stock: hot().conversion(stock, NOW - DAY, NOW, every="day", within=DAY),
            id="conversion",
        ),
    ],
)
def test_a_sampled_stock_refuses_what_needs_the_log(ask: Any, staff: Stock, time: Clock) -> None:
    """Rather than answering with something else."""
    with pytest.raises(InvalidMeasure, match="Stock 'staff' is sampled and cannot be"):
        ask(staff)


def test_sampled_and_exact_are_not_mixed(staff: Stock) -> None:
    """A process or a flow that would says so."""
    with pytest.raises(InvalidDeclaration, match="'p' would mix the sampled stock 'staff'"):
        Process("p", stocks=[hot(), staff])
    with pytest.raises(
        InvalidDeclaration, match="'f' cannot lead to or from 'staff': it is sampled"
    ):
        Flow("f", sources=[None], sinks=[staff])


def test_what_is_no_facet_makes_a_stock_sampled(time: Clock) -> None:
    """Its past is not in the log."""
    big = Stock(
        "big", Lead.temperature, states=["hot"], where={"amount__gte": 100, "channel": "web"}
    )
    Lead.objects.create(amount=100)
    Lead.objects.create(amount=100, channel="ads")
    Lead.objects.create(amount=99)

    assert (big.is_sampled, big.count()) == (True, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"queryset": [1]}, "queryset= is a QuerySet and stands alone", id="list"),
        pytest.param(
            {"queryset": User.objects.all(), "states": ["hot"]}, "stands alone", id="both"
        ),
        pytest.param(
            {"queryset": User.objects.all(), "facets": [Facet]}, "is no Facet", id="facet"
        ),
        pytest.param(
            {"reference": Lead.temperature, "states": ["hot"], "where": {"size": 3}},
            "crm.Lead cannot be filtered by 'size'",
            id="where",
        ),
        pytest.param({}, "needs a stock field as its model gives it", id="nothing"),
    ],
)
def test_a_misdeclared_sampled_stock_is_refused(options: Any, message: str) -> None:
    """Where it is declared."""
    with pytest.raises(InvalidDeclaration, match=message):
        Stock("staff", **options)


def test_a_facet_that_a_sampled_stock_lacks_is_refused(staff: Stock) -> None:
    """When declared, and when asked."""
    with pytest.raises(InvalidDeclaration, match=r"auth\.User has no 'team' to be split by"):
        Stock("all", queryset=User.objects.all(), facets=[Facet("team")])
    with pytest.raises(InvalidDeclaration, match="declared without the facet 'size'"):
        staff.count(by="size")

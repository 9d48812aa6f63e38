"""What is folded counts as the log does, however it was folded."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import buckets
from stockflow.models import Event
from stockflow.projections import Stock, checkpoints, flow_counts, query, runner
from stockflow.projections.flow_counts import FlowCounts
from stockflow.projections.models import FlowCount, Generation, Net, Path, Status
from stockflow.testing import clock, sequence
from tests.crm.models import Lead
from tests.projections import histories
from tests.projections.histories import NOW, START, quick

pytestmark = pytest.mark.django_db
END = START + timedelta(days=16)
OWN = [flow_counts.NAME]
ZONES = ["Europe/Berlin", "UTC", "America/Santiago", "Asia/Kathmandu"]


def log(events: list[Event]) -> None:
    """Write *events* and give them positions."""
    Event._default_manager.bulk_create(events)
    sequence()


def answer(bounds: list[int]) -> tuple[Counter[Any], Counter[Any]]:
    """Return levels of all cells in the opening, and every change with its offset thereafter."""
    counted = query.changes([Lead.temperature], bounds, using="default", now=NOW)
    opening: Counter[Any] = Counter()
    later: Counter[Any] = Counter()
    for change in counted.changes:
        if change.bucket:
            later[change[:8], "number"] += change.number
            later[change[:8], "offset"] += change.offset
            continue
        opening[change.model, change.target, change.target_facets] += change.number
        opening[change.model, change.source, change.source_facets] -= change.number
    return Counter({k: n for k, n in opening.items() if n and k[1] is not None}), later


def rows() -> list[set[Any]]:
    """Return what the serving generation has, without the numbers of its rows."""
    serving = checkpoints.serving(flow_counts.NAME, using="default")
    assert serving is not None
    own = {"generation": serving.pk}
    counts = FlowCount.objects.filter(**own).values_list(
        "day", "path", "number", "seconds", "micros"
    )
    nets = (
        Net.objects.filter(**own).exclude(number=0).values_list("level", "block", "cell", "number")
    )
    return [set(counts), set(nets)]


@quick
@given(
    events=histories.histories,
    share=st.integers(0, 100),
    batch=st.integers(1, 7),
    start=histories.instants,
    every=st.sampled_from(["hour", "day", "week", "month", timedelta(hours=7)]),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
)
def test_folded_equals_the_log(
    settings: Any, events: list[Event], share: int, batch: int, start: Any, every: Any, zones: Any
) -> None:
    """Any share of the log folded, in any batches, at any bound, in the same zone or another."""
    settings.STOCKFLOW_TIME_ZONE, number = zones[0], len(events) * share // 100
    cut = buckets(start, start + timedelta(days=12), every, ZoneInfo(zones[1]))
    bounds = [to_micros(start), *(to_micros(bucket.end) for bucket in cut)]
    with transaction.atomic():
        log(events)
        plain = answer(bounds)
        transaction.set_rollback(True)
    with transaction.atomic():
        log(events[:number])
        list(runner.project(names=OWN, batch_size=batch))
        Event._default_manager.bulk_create(events[number:])
        folded = answer(bounds)
        transaction.set_rollback(True)

    assert folded == plain


@quick
@given(events=histories.histories, batch=st.integers(1, 9))
def test_a_rebuild_equals_what_was_added_up(events: list[Event], batch: int) -> None:
    """Batch by batch or all at once, the rows are the same, and the old generation's are gone."""
    with transaction.atomic():
        log(events)
        list(runner.project(names=OWN, batch_size=batch))
        added_up = rows()
        list(runner.rebuild(names=OWN))
        own = Generation.objects.filter(projection=flow_counts.NAME)
        rebuilt, generations = rows(), own.count()
        left = FlowCount.objects.exclude(generation=own.get().pk).count()
        transaction.set_rollback(True)

    assert (rebuilt, generations, left) == (added_up, 1, 0)


def a_life() -> list[Event]:
    """Return the events of an object that is entered and moves."""
    import uuid

    lead = uuid.uuid4()
    return [
        histories.event(lead, 1, START, kind="entered", source=None, target="hot"),
        histories.event(lead, 2, END, kind="moved", source="hot", target="won"),
    ]


def test_a_batch_is_folded_once() -> None:
    """A runner that read the checkpoint before another moved it folds nothing."""
    log(a_life())
    list(runner.project(names=OWN))
    log(a_life())
    first, second = (checkpoints.serving(flow_counts.NAME, using="default") for _ in range(2))
    assert first is not None
    assert second is not None

    assert runner.fold_batch(FlowCounts(), first, 4, using="default")
    assert not runner.fold_batch(FlowCounts(), second, 4, using="default")
    assert sum(FlowCount.objects.values_list("number", flat=True)) == 4


def test_what_is_no_stock_event_is_passed() -> None:
    """The checkpoint moves to the last position scanned, not to the last one folded."""
    Event._default_manager.create(originator="x", version=1, topic="other")
    sequence()
    list(runner.project(names=OWN))

    assert checkpoints.serving(flow_counts.NAME, using="default").position == 1  # type: ignore[union-attr]
    assert not FlowCount.objects.exists()


def test_a_build_that_lags_does_not_serve() -> None:
    """The flip asks that the new generation has read as far as the old one."""
    log(a_life())
    list(runner.project(names=OWN))
    old = checkpoints.serving(flow_counts.NAME, using="default")
    new = Generation.objects.create(
        projection=flow_counts.NAME, version=flow_counts.VERSION, zone=FlowCounts().zone()
    )

    assert not checkpoints.flip(new, using="default")
    assert checkpoints.serving(flow_counts.NAME, using="default") == old


def test_an_interrupted_build_is_resumed() -> None:
    """What it folded before is not folded again."""
    log(a_life() + a_life())
    next(runner.rebuild(names=[flow_counts.NAME], batch_size=3))
    begun = checkpoints.building(flow_counts.NAME, using="default")

    assert begun is not None
    assert begun.position == 3
    assert list(runner.project(names=[flow_counts.NAME])) == [1]
    assert checkpoints.serving(flow_counts.NAME, using="default") == begun


def test_another_zone_makes_a_new_generation(settings: Any) -> None:
    """Days of another zone do not answer; until they are rebuilt the log does."""
    log(a_life())
    list(runner.project(names=OWN))
    settings.STOCKFLOW_TIME_ZONE = "Asia/Kathmandu"
    plain = answer([to_micros(START), to_micros(NOW)])
    list(runner.project(names=OWN))

    own = Generation.objects.filter(projection=flow_counts.NAME)
    assert [*own.values_list("zone", "status")] == [(FlowCounts().zone(), Status.SERVING)]
    assert answer([to_micros(START), to_micros(NOW)]) == plain


def test_folded_rows_answer() -> None:
    """Whole days come from the rows: were they altered, the answer would be."""
    log(a_life())
    list(runner.project(names=OWN))
    FlowCount.objects.update(number=7)
    Net.objects.update(number=5)
    opening, later = answer([to_micros(NOW), to_micros(NOW + timedelta(days=1))])
    everything = query.changes(
        [Lead.temperature],
        [to_micros(START - timedelta(days=9)), to_micros(NOW)],
        using="default",
        now=NOW,
    )

    assert set(opening.values()) != {1}
    assert not later
    assert {change.number for change in everything.changes} >= {7}


@pytest.mark.parametrize("is_folded", [False, True])
def test_who_came_and_went_before_has_no_row(is_folded: bool) -> None:
    """A facet value that nobody has in the buckets is left out, whether the log says so or a net."""
    web, fair = ('{"channel":"web"}', '{"channel":"fair"}')
    came: Any = {"kind": "entered", "source": None, "target": "hot"}
    gone, stays = UUID(int=1), UUID(int=2)
    log(
        [
            histories.event(gone, 1, START, facets=(None, web), **came),
            histories.event(
                gone, 2, START, kind="left", source="hot", target=None, facets=(web, None)
            ),
            histories.event(stays, 1, START, facets=(None, fair), **came),
        ]
    )
    if is_folded:
        list(runner.project(names=OWN))
    with clock(NOW):
        hot = Stock("hot", Lead.temperature, states=["hot"])
        found = hot.closing(NOW - timedelta(days=1), NOW, every="day", by="channel")

    assert [(row.facet, row.value) for row in found] == [("fair", 1)] * len(found)
    assert found


def test_a_question_is_one_statement(django_assert_num_queries: Any) -> None:
    """Generation, checkpoint, rows and the rest of the log come from one snapshot."""
    log(a_life())
    list(runner.project(names=OWN))

    with django_assert_num_queries(1, connection=connection):
        answer([to_micros(START), to_micros(NOW)])


def test_paths_are_shared() -> None:
    """What is interned once serves all generations."""
    log(a_life() + a_life())
    list(runner.project(names=OWN, batch_size=1))
    list(runner.rebuild(names=OWN))

    assert Path.objects.count() == 2


def test_commands_fold_rebuild_and_compare(capsys: Any) -> None:
    """`project`, `replay` and `replay --check` say how far they read."""
    with pytest.raises(CommandError, match="Nothing of flow_counts serves yet"):
        call_command("stockflow", "replay", "--check", "flow_counts")
    log(a_life())
    for words in (["project"], ["replay"], ["replay", "--check"]):
        call_command("stockflow", *words, "flow_counts")

    assert capsys.readouterr().out.splitlines() == [
        "Folded 2 positions into flow_counts.",
        "Replayed 2 positions of flow_counts; the new generation serves.",
        "Checked 2 positions of flow_counts: what serves is what the log adds up to.",
    ]


@pytest.mark.parametrize("table", [FlowCount, Net])
def test_a_check_names_what_differs(table: Any) -> None:
    """An altered row is shown, and goes on serving."""
    log(a_life())
    list(runner.project(names=OWN))
    table.objects.update(number=9)

    with pytest.raises(CommandError, match=r"differ from the log.*stockflow replay"):
        call_command("stockflow", "replay", "--check", *OWN)

    assert set(table.objects.values_list("number", flat=True)) == {9}
    assert Generation.objects.filter(projection__startswith=flow_counts.NAME).count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite compiles nothing")
def test_nothing_is_compiled_for_an_answer() -> None:
    """PostgreSQL would compile for seconds, for parts that read little."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = on")
        answer([to_micros(START)])
        cursor.execute("SHOW jit")

        assert cursor.fetchone() == ("off",)

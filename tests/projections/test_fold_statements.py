"""The statements of a fold: what they read of the tables, and which paths they find."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import Stock, runner
from stockflow.projections.models import FlowCount, Path, Spell
from stockflow.testing import clock, sequence
from tests.crm.models import Lead
from tests.projections import histories
from tests.projections.histories import START

pytestmark = pytest.mark.django_db


@contextmanager
def plans() -> Iterator[list[str]]:
    """Collect how the database runs each statement that changes rows."""
    explained = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    found: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("INSERT", "UPDATE")):
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"{explained} {sql}", params)
                found.extend(row[-1] for row in cursor.cursor.fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield found


def moved() -> UUID:
    """Record that a lead came and was won; return its lifecycle."""
    lead = uuid4()
    Event._default_manager.bulk_create(
        [
            histories.event(lead, 1, START, kind="entered", source=None, target="hot"),
            histories.event(lead, 2, START, kind="moved", source="hot", target="won"),
        ]
    )
    sequence()
    return lead


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL's plan depends on sizes")
@pytest.mark.parametrize("name", ["flow_counts", "spells"])
def test_no_batch_reads_all_that_is_folded(name: str) -> None:
    """SQLite has no statistics, unless somebody asks for them: it may not be left a choice."""
    moved()

    with plans() as found:
        list(runner.project(names=[name], batch_size=1))

    read = [
        step
        for step in found
        if step.startswith("SCAN") and any(f"_{t}" in step for t in ("spell", "flowcount", "net"))
    ]
    assert any("SEARCH" in step for step in found)
    assert read == []


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite is told its index")
def test_what_is_built_beside_another_is_read_by_its_key() -> None:
    """Statistics know only the generation that serves: of the new one no row, so that any index did."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stockflow_projections_spell (generation, originator, field, cell, version, "
            "entered, is_truncated, is_censored) "
            "SELECT -1, gen_random_uuid(), 'temperature', 1, 1, n, false, true "
            "FROM generate_series(1, 30000) n"
        )
        cursor.execute("ANALYZE stockflow_projections_spell")
    lead = moved()

    with plans() as found:
        list(runner.project(names=["spells"], batch_size=1))

    read = {step.split(" on ")[0].strip(" ->") for step in found if "projections_spell x" in step}
    assert read == {"Index Scan Backward using stockflow_spell"}
    ends = Spell.objects.filter(originator=str(lead)).order_by("version")
    assert [*ends.values_list("exit_to", flat=True)] == ["won", None]


def test_a_cell_not_met_yet_is_not_the_outside() -> None:
    """The path from the outside is known, the one from a new cell is not."""
    first, second = uuid4(), uuid4()
    Event._default_manager.bulk_create(
        [
            histories.event(first, 1, START, kind="reconciled", source=None, target="hot"),
            histories.event(second, 1, START, kind="reconciled", source="cold", target="hot"),
        ]
    )
    sequence()

    list(runner.project(names=["flow_counts"], batch_size=1))

    counted = dict(FlowCount.objects.values_list("path", "number"))
    sources = {row.source: counted[row.pk] for row in Path.objects.all()}
    assert sorted(sources.values()) == [1, 1]
    assert len(sources) == 2


def test_versions_tell_the_order_of_stays() -> None:
    """Whatever the order of positions: a log brought from elsewhere may have them otherwise."""
    lead = uuid4()
    Event._default_manager.bulk_create(
        [
            histories.event(lead, 2, START, kind="moved", source="hot", target="won"),
            histories.event(lead, 1, START, kind="entered", source=None, target="hot"),
        ]
    )
    sequence()

    list(runner.project(names=["spells"]))

    stays = Spell.objects.order_by("version").values_list("version", "exit_to", "left_at")
    assert list(stays) == [(1, "won", to_micros(START)), (2, None, None)]


@pytest.mark.parametrize("folded", [1, 2])
def test_what_is_being_built_neither_answers_nor_is_ended(declared: Any, folded: int) -> None:
    """Rows of two generations stand side by side until one of them serves."""
    lead, at, left = uuid4(), START + timedelta(days=1), START + timedelta(days=2)
    hot = Stock("hot_leads", Lead.temperature, states=["hot"])
    Event._default_manager.bulk_create(
        [
            histories.event(lead, 1, START, kind="entered", source=None, target="hot"),
            histories.event(uuid4(), 1, START, kind="entered", source=None, target="hot"),
            histories.event(lead, 2, left, kind="moved", source="hot", target="won"),
        ]
    )
    sequence()
    with clock(left + timedelta(days=2)):
        list(runner.project(names=["flow_counts", "spells"], batch_size=2))
        for name in ("flow_counts", "spells"):
            begun = runner.rebuild(names=[name], batch_size=1)
            for _ in range(folded):
                next(begun)

        assert (hot.count(at), hot.count()) == (2, 1)
        assert [row.value for row in hot.inflow(START, at, every="day")] == [2]
        assert (len(hot.members(at)), len(hot.stays())) == (2, 2)
        assert sorted(stay.exit_to or "" for stay in hot.stays()) == ["", "won"]
        for name in ("flow_counts", "spells"):
            list(runner.rebuild(names=[name], batch_size=1))
        assert (hot.count(at), len(hot.members(at)), len(hot.members())) == (2, 2, 1)
        assert sum(stay.left is None for stay in hot.stays()) == 1

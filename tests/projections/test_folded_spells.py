"""Folded spells answer as the log does, however they were folded."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.days import span_sql, spans_at
from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import checkpoints, runner, spell_rows
from stockflow.projections.members import members
from stockflow.projections.models import Spell
from stockflow.projections.spells import stays
from stockflow.testing import sequence
from tests.crm.models import Lead
from tests.projections import histories
from tests.projections.histories import NOW, START, STATES, event, quick

pytestmark = pytest.mark.django_db
OWN = [spell_rows.NAME]
DAY = timedelta(days=1)
some_states = st.sets(st.sampled_from(STATES), min_size=1)
some_instants = st.lists(histories.instants, min_size=2, max_size=2).map(sorted)


def log(events: Iterable[Event]) -> None:
    """Write *events* and give them positions."""
    Event._default_manager.bulk_create(events)
    sequence()


def found(
    states: Iterable[str],
    before: Any,
    since: Any = None,
    *,
    merged: bool = True,
    ended: bool = False,
) -> list[Any]:
    """Return stays in order."""
    asked = stays(
        Lead.temperature,
        set(states),
        to_micros(before),
        using="default",
        now=NOW,
        known={},
        merged=merged,
        since=None if since is None else to_micros(since),
        ended=ended,
    )
    return sorted(asked.spells, key=repr)


def there(states: Iterable[str], before: Any) -> list[Any]:
    """Return members in order."""
    asked: Any = {"using": "default", "now": NOW, "known": {}}
    return sorted(members(Lead.temperature, states, to_micros(before), **asked).members)


def rows() -> set[Any]:
    """Return what serves, without the numbers of its rows."""
    serving = checkpoints.serving(spell_rows.NAME, using="default")
    names = [f.name for f in Spell._meta.fields if f.name not in ("id", "generation")]
    return set(Spell.objects.filter(generation=getattr(serving, "pk", 0)).values_list(*names))


@quick
@given(
    events=histories.histories,
    share=st.integers(0, 100),
    batch=st.integers(1, 7),
    states=some_states,
    window=some_instants,
)
def test_folded_stays_equal_the_log(
    events: list[Event], share: int, batch: int, states: set[str], window: list[Any]
) -> None:
    """Any share of the log folded, in any batches; as of any instant, and since any other.

    Each history is asked each question that there is: one drawn at random is asked too seldom.
    """
    number = len(events) * share // 100

    def answers() -> list[Any]:
        stays = [
            found(some, window[1], since, merged=merged, ended=ended)
            for some in (states, {"hot", "warm"})
            for since in (None, START, *window)
            for merged in (True, False)
            for ended in (True, False)
        ]
        return [*stays, *(there(states, at) for at in window)]

    with transaction.atomic():
        log(events)
        plain = answers()
        transaction.set_rollback(True)
    with transaction.atomic():
        log(events[:number])
        list(runner.project(names=OWN, batch_size=batch))
        Event._default_manager.bulk_create(events[number:])
        folded = answers()
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
        rebuilt, left = rows(), Spell.objects.count()
        transaction.set_rollback(True)

    assert rebuilt == added_up
    assert left == len(rebuilt)


def a_life(*moves: tuple[str, str | None, str | None]) -> list[Event]:
    """Return the events of an object: their kinds, from where and where to, a day after each other."""
    lead = uuid.uuid4()
    return [
        event(lead, n + 1, START + n * DAY, kind=kind, source=source, target=target)
        for n, (kind, source, target) in enumerate(moves)
    ]


def test_a_stay_in_several_states_is_found_from_its_beginning() -> None:
    """Asked for what ended since an instant, a merged stay still began before it."""
    log(
        a_life(
            ("entered", None, "hot"),
            ("moved", "hot", "warm"),
            ("moved", "warm", "hot"),
            ("moved", "hot", "won"),
        )
    )
    list(runner.project(names=OWN))
    (stay,) = found({"hot", "warm"}, NOW, START + 3 * DAY)

    assert (stay.entered, stay.left) == (to_micros(START), to_micros(START + 3 * DAY))


def test_a_stay_that_ends_later_goes_on() -> None:
    """As of an instant nothing is known of its end, though the row has it."""
    log(a_life(("entered", None, "hot"), ("moved", "hot", "won")))
    list(runner.project(names=OWN))
    (stay,) = found({"hot"}, START + DAY)

    assert (stay.left, stay.exit_to, stay.is_censored) == (None, None, True)


def test_folded_rows_answer() -> None:
    """Were they altered, the answer would be: it does not come from the log."""
    log(a_life(("entered", None, "hot"), ("moved", "hot", "won")))
    list(runner.project(names=OWN))
    Spell.objects.filter(left_at=None).delete()
    Spell.objects.update(is_truncated=True)

    assert [stay.is_truncated for stay in found({"hot", "won"}, NOW)] == [True]
    assert there({"won"}, NOW) == []


def test_rows_of_another_version_do_not_answer() -> None:
    """Until they are rebuilt the log does."""
    log(a_life(("entered", None, "hot")))
    list(runner.project(names=OWN))
    serving = checkpoints.serving(spell_rows.NAME, using="default")
    assert serving is not None
    serving.version = spell_rows.VERSION + 1
    serving.save()
    Spell.objects.all().delete()

    assert len(found({"hot"}, NOW)) == len(there({"hot"}, NOW)) == 1


def test_an_object_has_one_stay_at_a_time() -> None:
    """A batch ends what the last one left open."""
    log(a_life(("entered", None, "hot"), ("moved", "hot", "hot"), ("reclassified", "hot", "hot")))
    list(runner.project(names=OWN, batch_size=1))

    assert [*Spell.objects.order_by("version").values_list("version", "left_at")] == [
        (1, to_micros(START + DAY)),
        (2, None),
    ]


@pytest.mark.parametrize("at", [-3 * 86_400_000_000 - 1, -1, 0, 1, to_micros(START)])
@pytest.mark.parametrize("length", [0, 1, 86_400_000_000, 5 * 86_400_000_000, 10**15])
def test_a_stretch_is_found_at_each_instant_in_it(at: int, length: int) -> None:
    """The database's block of a stretch is one of those of its bounds and its middle."""
    with connection.cursor() as cursor:
        bounds = (f"CAST({at} AS bigint)", f"CAST({at + length} AS bigint)")
        cursor.execute(f"SELECT {span_sql(*bounds)}")
        (span,) = cursor.fetchone()

    for inside in (at, at + length // 2, at + length):
        assert span in spans_at(inside)


def test_questions_are_one_statement(django_assert_num_queries: Any) -> None:
    """Generation, checkpoint, rows and the rest of the log come from one snapshot."""
    log(a_life(("entered", None, "hot")))
    list(runner.project(names=OWN))
    with django_assert_num_queries(1):
        found({"hot"}, NOW, START)
    with django_assert_num_queries(1):
        there({"hot"}, NOW)

"""The log of one lifecycle, folded."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.events import Entered, Left, Moved, Reclassified, StockEvent
from stockflow.domain.history import History, Spell

START = datetime(2026, 3, 3, tzinfo=UTC)
STATES = st.sampled_from(["hot", "warm", "cold"])
KINDS = {"entered": Entered, "moved": Moved, "reclassified": Reclassified, "left": Left}


def event(
    kind: str, version: int, source: str | None, target: str | None, day: int, field: str = "state"
) -> StockEvent:
    """Return an event of a day."""
    at = START + timedelta(days=day)
    return KINDS[kind](
        originator_id="a",
        originator_version=version,
        model="crm.lead",
        field=field,
        source=source,
        target=target,
        occurred_at=at,
        recorded_at=at,
    )


LIFE = History(
    [
        event("entered", 1, None, "hot", 0),
        event("reclassified", 2, "hot", "hot", 1),
        event("moved", 3, "hot", "warm", 7),
        event("left", 4, "warm", None, 9),
    ]
)


def test_a_spell_for_each_event() -> None:
    """A mere facet change falls into the spell; who left is in none."""
    hot = Spell("state", "hot", START, START + timedelta(days=7))
    warm = Spell("state", "warm", START + timedelta(days=7), START + timedelta(days=9))

    assert LIFE.spells() == (hot, hot, warm, None)
    assert len(LIFE) == 4


def test_fields_do_not_end_each_other_s_spells() -> None:
    """Each field has its own."""
    history = History(
        [event("entered", 1, None, "a", 0), event("entered", 2, None, "b", 5, "other")]
    )

    assert [spell and spell.until for spell in history.spells()] == [None, None]


def test_a_spell_that_lasts_has_a_length_up_to_now() -> None:
    """One that ended has its own."""
    now = START + timedelta(days=100)

    assert Spell("state", "hot", START).length(now) == timedelta(days=100)
    assert Spell("state", "hot", START, START + timedelta(days=7)).length(now) == timedelta(days=7)


@pytest.mark.parametrize(
    ("day", "state"),
    [(-1, None), (0, "hot"), (6, "hot"), (7, "warm"), (8, "warm"), (9, None), (99, None)],
)
def test_the_state_at_an_instant(day: int, state: str | None) -> None:
    """Inclusive: at an event's instant it has happened."""
    assert LIFE.state("state", START + timedelta(days=day)) == state


def test_the_state_of_another_field_is_the_outside() -> None:
    """It was never entered."""
    assert LIFE.state("other") is None


@given(st.lists(st.tuples(STATES, st.integers(0, 9)), min_size=1, max_size=20))
def test_spells_cover_the_life_without_overlap(moves: list[tuple[str, int]]) -> None:
    """Each ends where the next begins, and each has the state of its beginning."""
    day, source, events = 0, None, []
    for version, (target, days) in enumerate(moves, 1):
        day += days
        events.append(event("moved" if source else "entered", version, source, target, day))
        source = target
    history = History(events)
    spells = [spell for spell in history.spells() if spell]

    assert all(one.until == other.since for one, other in pairwise(spells))
    assert spells[-1].until is None
    assert [spell.state for spell in spells] == [target for target, _ in moves]

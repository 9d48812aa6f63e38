"""A facet declared later: the past has it where events carry it, and no guess where they do not."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from stockflow.domain.cells import NOT_RECORDED, encode_facets
from stockflow.models import Event
from stockflow.projections import Stock, runner
from stockflow.testing import clock, sequence
from tests.crm.models import Lead
from tests.projections.histories import NOW, START, event

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
BEFORE = encode_facets({"channel": "web"})
NORTH = encode_facets({"channel": "web", "owner__team": "north"})
SOUTH = encode_facets({"channel": "web", "owner__team": "south"})


def lives() -> list[Event]:
    """Return the events of four leads; the team was a facet at first, then not, then it was again."""
    came: Any = {"kind": "entered", "source": None, "target": "hot"}
    told: Any = {"kind": "reclassified", "source": "hot", "target": "hot"}
    won: Any = {"kind": "moved", "source": "hot", "target": "won"}
    first, second, third, fourth = (UUID(int=number) for number in range(1, 5))
    return [
        event(first, 1, START, facets=(None, NORTH), **came),
        event(second, 1, START + DAY, facets=(None, BEFORE), **came),
        event(third, 1, START + DAY, facets=(None, BEFORE), **came),
        event(fourth, 1, START + 2 * DAY, facets=(None, SOUTH), **came),
        event(second, 2, START + 3 * DAY, facets=(BEFORE, NORTH), **told),
        event(third, 2, START + 4 * DAY, facets=(BEFORE, BEFORE), **won),
        event(second, 3, START + 5 * DAY, facets=(NORTH, NORTH), **won),
    ]


@pytest.mark.parametrize("folded", [0, 3, 7])
def test_the_past_is_split_as_it_was_recorded(folded: int) -> None:
    """Levels, entries and exits, folded or not, of events with and without the value."""
    events = lives()
    Event._default_manager.bulk_create(events[:folded])
    sequence()
    list(runner.project())
    Event._default_manager.bulk_create(events[folded:])
    with clock(NOW):
        hot = Stock("hot", Lead.temperature, states=["hot"])
        levels = [hot.count(at=START + n * DAY, by="owner__team") for n in (0, 1, 2, 3, 4, 5)]
        week: Any = {"start": START, "end": START + 7 * DAY, "every": "week", "by": "owner__team"}
        went = [(row.facet, row.value) for row in hot.outflow(**week) if row.value]

    assert levels == [
        {"north": 1},
        {"north": 1, NOT_RECORDED: 2},
        {"north": 1, NOT_RECORDED: 2, "south": 1},
        {"north": 2, NOT_RECORDED: 1, "south": 1},
        {"north": 2, "south": 1},
        {"north": 1, "south": 1},
    ]
    assert sorted(went, key=str) == [("north", 1), (NOT_RECORDED, 1)]


@pytest.mark.parametrize("folded", [0, 7])
def test_members_lack_what_was_not_recorded(folded: int) -> None:
    """Nobody is given the value that he has today."""
    events = lives()
    Event._default_manager.bulk_create(events)
    sequence()
    if folded:
        list(runner.project())
    with clock(NOW):
        hot = Stock("hot", Lead.temperature, states=["hot"])
        found = {m.lifecycle.int: m.facets for m in hot.members(at=START + DAY)}

    assert found == {
        1: {"channel": "web", "owner__team": "north"},
        2: {"channel": "web"},
        3: {"channel": "web"},
    }

"""Domain events: frozen, under topics that stay."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta

import pytest
from eventsourcing.utils import resolve_topic

from stockflow.domain.events import EVENTS, TOPICS, Entered, Erased, Reclassified, StockEvent

AT = datetime(2026, 3, 3, tzinfo=UTC)
EVENT = Entered(
    originator_id="a",
    originator_version=1,
    model="crm.lead",
    field="state",
    target="hot",
    occurred_at=AT,
    recorded_at=AT + timedelta(seconds=2),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_a_topic_is_a_word_that_resolves(event: type[StockEvent]) -> None:
    """Stored logs know topics, never module paths."""
    assert event.TOPIC == TOPICS[event.kind] == f"stockflow:{event.kind}"
    assert resolve_topic(event.TOPIC) is event


def test_an_event_is_never_altered() -> None:
    """Not even in memory."""
    with pytest.raises(FrozenInstanceError):
        EVENT.actor = "ada"  # type: ignore[misc]


def test_how_late_it_was_recorded() -> None:
    """Two instants, never mixed."""
    assert EVENT.lag == timedelta(seconds=2)


def test_what_keeps_the_spell() -> None:
    """A facet's change and an erasure do; all others begin or end one."""
    facts = {f.name: getattr(EVENT, f.name) for f in fields(EVENT)}

    assert [e for e in EVENTS if not e(**{**facts, "source": "cold"}).restarts_spell] == [
        Reclassified,
        Erased,
    ]

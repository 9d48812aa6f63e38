"""Random histories of leads as rows of the log, and brute force over them."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from stockflow.domain.cells import FacetValue, decode_facets, encode_facets
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import flow_counts, spell_rows
from stockflow.projections.runner import project
from stockflow.testing import sequence

START = datetime(2026, 3, 26, tzinfo=UTC)
STEP = timedelta(hours=6)
NOW = START + timedelta(days=30)
STATES = ("hot", "warm", "won")
STILL = {"reclassified", "erased"}
"""The kinds of event after which an object is where it was."""
FAMILY = ("crm.lead", "crm.hotlead", "crm.biglead")
READ = [flow_counts.NAME, spell_rows.NAME]
"""The projections that answers read: those of the example would be folded for nothing."""

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""A database is slow, and rolling each example back is what makes its fixture one per test."""

instants = st.builds(
    lambda steps, micros: START + steps * STEP + timedelta(microseconds=micros),
    st.integers(0, 60),
    st.sampled_from([-1, 0, 0, 1]),
)


class Step(NamedTuple):
    """What happens next to an object: where it goes, how it is then, how long after."""

    kind: str
    state: str
    channel: FacetValue
    wait: int


steps = st.builds(
    Step,
    st.sampled_from(["moved", "moved", "moved", "reclassified", "erased", "left"]),
    st.sampled_from(STATES),
    st.sampled_from(["web", "fair", None]),
    st.integers(0, 12),
)
lives = st.tuples(
    st.sampled_from([*FAMILY, "crm.ticket"]),
    st.sampled_from(["entered", "entered", "adopted"]),
    st.lists(steps, min_size=1, max_size=5),
)
histories = st.lists(lives, max_size=12).map(
    lambda drawn: [e for life in drawn for e in _life(*life)]
)
"""Events of some objects, some of a model that is not asked about."""


def event(
    lifecycle: uuid.UUID,
    version: int,
    at: datetime,
    *,
    kind: str,
    source: str | None,
    target: str | None,
    facets: tuple[str | None, str | None] = (None, None),
    model: str = "crm.lead",
    field: str = "temperature",
) -> Event:
    """Return a row of the log, not saved."""
    return Event(
        originator=str(lifecycle),
        version=version,
        topic=TOPICS[kind],
        model=model,
        field=field,
        kind=kind,
        source=source,
        target=target,
        source_facets=facets[0],
        target_facets=facets[1],
        occurred_at=to_micros(at),
    )


def _life(model: str, opening: str, drawn: list[Step]) -> Iterator[Event]:
    lifecycle, at, state, cell = uuid.uuid4(), START, None, None
    for version, step in enumerate(drawn, start=1):
        kind = opening if version == 1 else step.kind
        at += step.wait * STEP
        target = None if kind == "left" else state if kind in STILL else step.state
        after = cell if kind == "erased" else None if target is None else _cell(step.channel)
        yield event(
            lifecycle,
            version,
            at,
            kind=kind,
            source=state,
            target=target,
            facets=(cell, after),
            model=model,
        )
        state, cell = target, after
        if kind == "left":
            break
    if state is None:
        told: Any = {"source": None, "target": None, "model": model}
        yield event(lifecycle, version + 1, at + STEP, kind="erased", **told)


def _cell(channel: FacetValue) -> str:
    """Return a cell's text; the channel None stands for a time before it was declared."""
    return encode_facets({} if channel is None else {"channel": channel})


@contextmanager
def logged(events: Iterable[Event], *, folded: bool = True) -> Iterator[None]:
    """Put *events* into the log for the span of the block.

    None of them, half of them or all are folded, and what is not may lack its position: that
    depends on how many they are, so that random histories are met in each way. Without *folded*
    none has a position either, for tests that give their own.
    """
    rows = list(events)
    number = (0, len(rows) // 2, len(rows))[len(rows) % 3]
    with transaction.atomic():
        if folded:
            _log(rows, number=number, batch=1 + len(rows) % 5)
        else:
            Event._default_manager.bulk_create(rows)
        yield
        transaction.set_rollback(True)


def _log(rows: list[Event], *, number: int, batch: int) -> None:
    """Write *rows*, the first *number* of them folded in batches, where there are any."""
    Event._default_manager.bulk_create(rows[:number])
    if number:
        sequence()
        list(project(names=READ, batch_size=batch))
    Event._default_manager.bulk_create(rows[number:])
    if len(rows) % 2:
        sequence()


def standing(
    events: Iterable[Event], before: datetime, models: Iterable[str] = FAMILY
) -> list[Event]:
    """Return the last event of each object of *models* before an instant, who left excepted."""
    last: dict[str, Event] = {}
    for one in events:
        if one.model in set(models) and micros(one) < to_micros(before):
            last[one.originator] = one
    return [one for one in last.values() if one.target is not None]


def level(events: Iterable[Event], before: datetime, states: Iterable[str]) -> int:
    """Count the objects in *states* just before an instant, one by one."""
    return sum(one.target in set(states) for one in standing(events, before))


def level_by_channel(
    events: Iterable[Event], before: datetime, states: Iterable[str]
) -> Counter[object]:
    """Count the objects in *states* just before an instant, by channel."""
    return Counter(
        channel(one.target_facets) for one in standing(events, before) if one.target in set(states)
    )


def since(events: Iterable[Event], before: datetime) -> dict[str, int]:
    """Return when each object entered its state, by lifecycle."""
    found: defaultdict[str, int] = defaultdict(int)
    for one in events:
        if one.kind not in STILL and micros(one) < to_micros(before):
            found[one.originator] = micros(one)
    return found


def channel(facets: str | None) -> object:
    """Return the channel in a cell's text, ``"not recorded"`` where it has none."""
    return decode_facets(facets).get("channel", "not recorded")


def micros(one: Event) -> int:
    """Return when it happened."""
    assert one.occurred_at is not None
    return one.occurred_at

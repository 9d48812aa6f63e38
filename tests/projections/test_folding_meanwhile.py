"""Answers are whole while writers write, a runner folds and another rebuilds."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import checkpoints, flow_counts, query, runner
from stockflow.projections.flow_counts import FlowCounts
from stockflow.projections.members import members
from stockflow.projections.replay import Comparison
from stockflow.projections.spell_rows import Spells
from stockflow.projections.spells import stays
from tests.crm.models import Lead
from tests.projections.histories import NOW, START, event

SECONDS = 4.0
BOUNDS = [to_micros(START + timedelta(days=3, hours=5)), to_micros(NOW)]


class Swaps:
    """A writer: in each transaction one of two leads cools and the other is rekindled."""

    def __init__(self) -> None:
        self.leads, self.version = [uuid.uuid4(), uuid.uuid4()], 1
        states = ("hot", "warm")
        Event._default_manager.bulk_create(
            event(lead, 1, START, kind="entered", source=None, target=state)
            for lead, state in zip(self.leads, states, strict=True)
        )

    def __call__(self) -> None:
        self.version += 1
        at = START + timedelta(hours=self.version % 400)
        moves = [("hot", "warm"), ("warm", "hot")]
        with transaction.atomic():
            Event._default_manager.bulk_create(
                event(lead, self.version, at, kind="moved", source=source, target=target)
                for lead, (source, target) in zip(self.leads, moves, strict=True)
            )
        self.leads.reverse()
        time.sleep(0.003)


def repeatedly(work: Callable[[], object], stop: threading.Event, errors: list[object]) -> None:
    """Run *work* again and again, as a process of its own would."""
    try:
        while not stop.is_set():
            try:
                work()
            except OperationalError as error:
                if "locked" not in str(error):  # an embedded database takes one writer at a time
                    raise
    except Exception as error:
        errors.append(error)
    finally:
        connection.close()


def levels() -> dict[tuple[int, str | None], int]:
    """Return how many are hot and warm before the first bound, and by how much that changes."""
    counted = query.changes([Lead.temperature], BOUNDS, using="default", now=NOW)
    found: dict[tuple[int, str | None], int] = {}
    for change in counted.changes:
        for state, sign in ((change.target, 1), (change.source, -1)):
            key = (change.bucket, state)
            found[key] = found.get(key, 0) + sign * change.number
    return {key: n for key, n in found.items() if key[1] is not None and n}


def members_and_stays() -> tuple[int, int]:
    """Return how many are hot, counted as members and as stays that go on."""
    asked: Any = {"using": "default", "now": NOW, "known": {}}
    there = members(Lead.temperature, ["hot"], query.END, **asked).members
    found = stays(Lead.temperature, ["hot"], query.END, **asked, merged=False).spells
    return len(there), sum(stay.left is None for stay in found)


@pytest.mark.django_db(transaction=True)
def test_no_answer_is_torn() -> None:
    """Each swap leaves the levels alone: one that saw half of it, or twice, would differ."""
    swaps, stop, errors, asked = [Swaps(), Swaps()], threading.Event(), list[object](), 0
    work = [
        *swaps,
        lambda: list(runner.project(batch_size=7)),
        lambda: list(runner.project(batch_size=11)),
        lambda: list(runner.rebuild(batch_size=50)),
    ]
    threads = [threading.Thread(target=repeatedly, args=(one, stop, errors)) for one in work]
    for thread in threads:
        thread.start()
    until, torn = time.monotonic() + SECONDS, list[object]()
    while time.monotonic() < until:
        asked += 1
        if (found := levels()) != {(0, "hot"): 2, (0, "warm"): 2}:
            torn.append(found)
        if (counts := members_and_stays()) != (2, 2):
            torn.append(counts)
    stop.set()
    for thread in threads:
        thread.join()
    list(runner.project())
    serving = checkpoints.serving(flow_counts.NAME, using="default")
    assert serving is not None
    differences = []
    for projection in (FlowCounts(), Spells()):
        built = checkpoints.serving(projection.name, using="default")
        assert built is not None
        comparison = Comparison(projection, built, using="default")
        list(comparison.run())
        differences += comparison.differences

    assert (errors, torn, differences) == ([], [], [])
    assert serving.position == Event._default_manager.count()
    assert asked > 20

"""Answers equal brute force over the log while it is written, sequenced, folded and replayed."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from stockflow.domain.cells import encode_facets
from stockflow.domain.instants import to_micros
from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event
from stockflow.projections import base, checkpoints, runner
from stockflow.projections.replay import Comparison
from tests.projections import own
from tests.projections.histories import START, STATES, event
from tests.projections.test_folding import answer

BOUNDS = [to_micros(START + timedelta(days=3, hours=5) + n * timedelta(hours=19)) for n in range(9)]


class Writer:
    """Moves objects of its own at random instants, late ones too; a fifth is rolled back."""

    def __init__(self, seed: int, pause: float) -> None:
        self.random, self.pause = random.Random(seed), pause
        self.lives: dict[uuid.UUID, tuple[int, str, str]] = {}

    def __call__(self) -> None:
        with transaction.atomic():
            moved = dict(self._write(self.random.randint(1, 4)))
            if is_undone := self.random.random() < 0.2:
                transaction.set_rollback(True)
        if not is_undone:
            self.lives |= moved
        time.sleep(self.pause)

    def _write(self, number: int) -> Iterator[tuple[uuid.UUID, tuple[int, str, str]]]:
        known = self.random.sample(sorted(self.lives), min(number // 2, len(self.lives)))
        rows = []
        for lead in [*known, *(uuid.uuid4() for _ in range(number - len(known)))]:
            version, state, cell = self.lives.get(lead, (0, None, None))
            target = self.random.choice(STATES)
            facets = encode_facets({"channel": self.random.choice(["web", "fair"])})
            at = START + timedelta(minutes=self.random.randint(0, 12 * 24 * 60))
            rows.append(
                event(
                    lead,
                    version + 1,
                    at,
                    kind="moved" if version else "entered",
                    source=state,
                    target=target,
                    facets=(cell, facets),
                )
            )
            yield lead, (version + 1, target, facets)
        Event._default_manager.bulk_create(rows)


def with_pauses(seconds: float, work: Callable[[], object]) -> Callable[[], None]:
    """Return what does *work* and then leaves the database to others for a while."""

    def paced() -> None:
        work()
        time.sleep(seconds)

    return paced


@contextmanager
def running(*work: Callable[[], object]) -> Iterator[None]:
    """Do all of *work* again and again, each as a process of its own would, during the block."""
    stop, errors = threading.Event(), list[Exception]()

    def repeat(one: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                try:
                    one()
                except OperationalError as error:
                    if "locked" not in str(error):  # an embedded database has one writer at a time
                        raise
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=repeat, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []


@contextmanager
def snapshot() -> Iterator[None]:
    """Let all statements of the block see one state of the database, and lock no writer out."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ" if is_postgresql else "BEGIN DEFERRED"
        )
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def brute() -> tuple[Counter[Any], Counter[Any]]:
    """Return what :func:`answer` must say, event by event."""
    opening: Counter[Any] = Counter()
    later: Counter[Any] = Counter()
    columns = ("model", "field", "kind", "source", "target", "source_facets", "target_facets")
    for *cells, at in Event._default_manager.values_list(*columns, "occurred_at"):
        model, _, _, source, target, source_facets, target_facets = cells
        if at < BOUNDS[0]:
            opening[model, target, target_facets] += 1
            opening[model, source, source_facets] -= 1
            continue
        for bucket, (start, end) in enumerate(pairwise(BOUNDS), start=1):
            if start <= at < end:
                later[(bucket, *cells), "number"] += 1
                later[(bucket, *cells), "offset"] += at - start
    return Counter({k: n for k, n in opening.items() if n and k[1] is not None}), later


@pytest.mark.django_db(transaction=True)
def test_every_answer_is_brute_force(request: pytest.FixtureRequest) -> None:
    """Each answer and the events are read in one snapshot: none of the answers differs.

    ``--answers`` says how many.
    """
    wanted, differing, folded = request.config.getoption("--answers"), 0, set[int]()
    pause = 0.03 * max(1, wanted / 400)  # brute force over a longer log takes longer
    names = ["flow_counts"]
    with running(
        *(Writer(seed, pause=pause) for seed in range(3)),
        with_pauses(0.02, sequence),
        with_pauses(0.01, lambda: list(runner.project(names=names, batch_size=17))),
        with_pauses(0.3, lambda: list(runner.rebuild(names=names, batch_size=200))),
    ):
        for _ in range(wanted):
            with snapshot():
                differing += answer(BOUNDS) != brute()
                serving = checkpoints.serving("flow_counts", using="default")
                folded.add(serving.position if serving else 0)

    assert differing == 0
    assert len(folded) > 10  # it was asked at many states of the fold
    assert max(folded) > 50


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_eight_writers_two_runners_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every kind, what serves in the end is what the log adds up to, and so was each replay."""
    monkeypatch.setattr(base, "installed", {"flow_counts": base.installed["flow_counts"]})
    own.register()
    replays: list[int] = []

    def replay() -> None:
        replays.append(sum(runner.rebuild(batch_size=100)))

    with running(
        *(Writer(seed, pause=0.05) for seed in range(8)),
        lambda: list(runner.project(batch_size=7)),
        lambda: list(runner.project(batch_size=11)),
        replay,
    ):
        until = time.monotonic() + 60
        time.sleep(6)
        while not (replays and Event._default_manager.count() > 100) and time.monotonic() < until:
            time.sleep(1)  # a slow machine, or one that does much else
    list(runner.project())
    events = list(Event._default_manager.order_by("originator", "version"))

    assert own.journeys_served() == own.journeys(events)
    assert own.channel_days_served() == own.channel_days(events, "UTC")
    for projection in base.named(using="default"):
        serving = checkpoints.serving(projection.name, using="default")
        assert serving is not None
        assert serving.position == len(events) > 100
        comparison = Comparison(projection, serving, using="default")
        list(comparison.run())
        assert comparison.differences == []
    assert replays

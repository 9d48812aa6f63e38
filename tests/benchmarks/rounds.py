"""Timing in alternating rounds, so that what disturbs the machine disturbs every peer alike."""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

from django.db import connection, transaction
from tqdm import tqdm

from tests.benchmarks.peers import PEERS, Peer

Samples = dict[str, list[float]]
"""Microseconds for one transition and its save, by line of the table."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: Rounds that count; one more goes before, to warm up.
        alone: Transitions of each peer and direction in a round, each in its own transaction.
        blocks: Rounds of blocks.
        block: Transitions in such a block, which is one transaction.
    """

    rounds: int
    alone: int
    blocks: int
    block: int


FULL = Size(rounds=40, alone=50, blocks=9, block=1000)
SMALL = Size(rounds=12, alone=25, blocks=8, block=200)
TINY = Size(rounds=1, alone=2, blocks=1, block=3)


def measure(size: Size) -> dict[str, dict[str, float]]:
    """Return the medians in microseconds, by mode and line of the table."""
    with transaction.atomic():
        for peer in PEERS:
            peer.make(max(size.alone, size.block))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    gc.collect()
    gc.freeze()  # what was loaded before is not looked through again in the middle of a round
    block = f"in a block of {size.block:,}"
    return {
        "each in its own transaction": _medians(_alone, size.alone, size.rounds, "alone"),
        block: _medians(_block, size.block, size.blocks, block),
    }


def _medians(
    time: Callable[[Callable[[Any], None], list[Any]], list[float]],
    count: int,
    rounds: int,
    title: str,
) -> dict[str, float]:
    samples: Samples = defaultdict(list)
    for n in tqdm(range(rounds + 1), desc=f"{connection.vendor}, {title}", disable=None):
        for peer in _turned(n):
            tickets = peer.tickets(count)
            for name, step in peer.legs():
                gc.collect()
                times = time(step, tickets)
                if n:  # the first round warms up
                    samples[name] += times
    lines = dict.fromkeys(name for peer in PEERS for name in peer.names)
    return {name: median(samples[name]) for name in lines}


def _turned(n: int) -> Iterator[Peer]:
    """Let another peer begin each round."""
    start = n % len(PEERS)
    yield from PEERS[start:]
    yield from PEERS[:start]


def _alone(step: Callable[[Any], None], tickets: list[Any]) -> list[float]:
    times = []
    for ticket in tickets:
        start = perf_counter_ns()
        with transaction.atomic():
            step(ticket)
        times.append((perf_counter_ns() - start) / 1000)
    return times


def _block(step: Callable[[Any], None], tickets: list[Any]) -> list[float]:
    start = perf_counter_ns()
    with transaction.atomic():
        for ticket in tickets:
            step(ticket)
    return [(perf_counter_ns() - start) / 1000 / len(tickets)]

"""The schedule as a process that stays: it sleeps until something is due, and stops when told."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from django.db import close_old_connections

from stockflow import conf
from stockflow.scheduling.decays import next_due
from stockflow.scheduling.runs import next_start

LONGEST_SLEEP = timedelta(seconds=10)
"""A timer that another process starts meanwhile may be due before all that is known now."""

SHORTEST_SLEEP = timedelta(milliseconds=100)
"""What is due but cannot be fired now does not keep the processor busy."""


class Stop(threading.Event):
    """Set when the process is told to stop.

    Attributes:
        signal: What told it.
    """

    signal: int | None = None


@contextmanager
def stopping() -> Iterator[Stop]:
    """Give an event that SIGTERM and SIGINT set, until the block ends.

    The second one does what it does elsewhere: it ends what does not want to stop. Only the main
    thread is told signals; in another one there is nothing to listen to.
    """
    stop = Stop()
    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def told(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        before |= {
            number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)
        }
    try:
        yield stop
    finally:
        restore()


def loop(work: Callable[[threading.Event], object], stop: threading.Event, *, using: str) -> None:
    """Do *work* whenever something is due, until *stop* is set; work looks at it between chunks."""
    while not stop.is_set():
        work(stop)
        stop.wait(pause(using).total_seconds())
        close_old_connections()


def pause(using: str) -> timedelta:
    """Return how long nothing is due."""
    now = conf.now(using)
    known = [at for at in (next_due(using=using), next_start(using=using)) if at is not None]
    return min(max(min(known, default=now + LONGEST_SLEEP) - now, SHORTEST_SLEEP), LONGEST_SLEEP)

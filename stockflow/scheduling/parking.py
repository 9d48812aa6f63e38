"""Timers that are not fired now: tried again later, or set aside until a person releases them."""

import logging
from datetime import timedelta
from typing import Any

from django.db import connections, models

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.scheduling.outcomes import Chunk, Failure
from stockflow.tables import ScheduledTransition
from stockflow.texts import told_of

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""A decay that failed this often is parked for a person to look at."""

FIRST_RETRY = timedelta(minutes=1)
"""How long a decay that failed, or whose conditions are false, is left alone; after each further
failure four times as long."""


def can_write(using: str) -> bool:
    """Whether the failure that was just raised can be written down, on the connection as it is.

    The connection is asked, not the error: a method that meets a lock or a timeout at each try
    raises the same as a database that fails, and must hold up nobody else. A database that
    cannot write, its disk full, say, refuses to write that down, and so ends the run. Folding asks
    the error, by ``stockflow.projections.attempts.is_of_the_database``: it can wait, and must not
    lose an event for a lock.
    """
    connection = connections[using]
    is_open = connection.connection is not None and not connection.needs_rollback
    return is_open and connection.is_usable()


def fail(timer: ScheduledTransition, error: Exception, using: str, chunk: Chunk) -> None:
    """Write down that firing *timer* raised *error*, and when it is tried again, if ever."""
    timer.attempts += 1
    timer.error = told_of(error)
    now = conf.now(using)
    if timer.attempts >= ATTEMPTS:
        timer.parked_at = to_micros(now)
    else:
        timer.retry_at = to_micros(now + FIRST_RETRY * 4 ** (timer.attempts - 1))
    _write(timer, using, "attempts", "error", "parked_at", "retry_at")
    _tell(timer, chunk, error)


def park(timer: ScheduledTransition, why: str, using: str, chunk: Chunk) -> None:
    """Set *timer* aside for a person."""
    timer.error, timer.parked_at = why, to_micros(conf.now(using))
    _write(timer, using, "error", "parked_at")
    _tell(timer, chunk)


def hold(timer: ScheduledTransition, using: str, chunk: Chunk) -> None:
    """Leave *timer* alone for a while: its conditions are false."""
    timer.retry_at = to_micros(conf.now(using) + FIRST_RETRY)
    _write(timer, using, "retry_at")
    chunk.held.add(timer.id)


def release(timers: "models.QuerySet[ScheduledTransition]") -> int:
    """Let the parked ones of *timers* be tried again, from now on; return how many there were."""
    now = to_micros(conf.now(timers.db))
    parked: Any = timers.filter(parked_at__isnull=False)
    number: int = parked.update(
        parked_at=None, retry_at=None, attempts=0, error="", released_at=now
    )
    return number


def _write(timer: ScheduledTransition, using: str, *names: str) -> None:
    timers = ScheduledTransition.objects.using(using)
    timers.filter(id=timer.id).update(**{name: getattr(timer, name) for name in names})


def _tell(timer: ScheduledTransition, chunk: Chunk, error: Exception | None = None) -> None:
    chunk.failures[timer.id] = Failure.of(timer)
    logger.error("stockflow: %s", chunk.failures[timer.id], exc_info=error)

"""Helpers for the tests of projects that use stockflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import require_instant

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

__all__ = ["Clock", "assert_events", "clock", "run_due", "sequence"]


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self, at: datetime) -> None:
        self.at = require_instant(at, "at")

    def __call__(self) -> datetime:
        return self.at

    def move_to(self, at: datetime) -> None:
        """Make it *at*; going back is allowed, as real clocks do."""
        self.at = require_instant(at, "at")

    def advance(self, by: timedelta) -> None:
        """Let *by* pass."""
        self.at += by


@contextmanager
def clock(at: datetime | None = None) -> Iterator[Clock]:
    """Set the time that stockflow sees to *at*, in every thread, until the block ends.

    It decides what is due, what ``occurred_at`` is and where an open series ends;
    ``recorded_at`` stays the database's. It begins at what it is now by default.

    >>> from datetime import UTC, datetime, timedelta
    >>> with clock(datetime(2026, 3, 3, tzinfo=UTC)) as time:
    ...     time.advance(timedelta(days=7))
    ...     conf.now().isoformat()
    '2026-03-10T00:00:00+00:00'
    """
    before = conf._test_clock
    # The database's clock is not asked: a test may have no database yet.
    moved = Clock(at or (before() if before else datetime.now(UTC)))
    conf._test_clock = moved
    try:
        yield moved
    finally:
        conf._test_clock = before


def run_due(until: datetime | None = None, *, using: str = "default") -> int:
    """Let the decays happen that are due, as the periodic schedule does, and return how many did.

    Args:
        until: The last due instant; now by default.
        using: The alias of the database.

    Raises:
        AssertionError: If one of them failed, or what it left to ``on_commit``; it says which
            and why.
        InvalidInstant: If *until* is in the future.
    """
    from stockflow.scheduling.decays import fire_due  # noqa: PLC0415  needs the app registry

    now = conf.now(using)
    if until is not None and until > now:
        raise InvalidInstant(
            f"until is {until.isoformat()}, but it is only {now.isoformat()}, and no decay happens "
            "early: move the clock there first, as by advance()."
        )
    fired = 0
    failures: list[object] = []
    for chunk in fire_due(until, using=using):
        fired += chunk.fired
        failures += [*chunk.failures.values(), *chunk.failed_hooks]
    if failures:
        raise AssertionError("; ".join(map(str, failures)))
    return fired


def assert_events(instance: "StockflowModel", *expected: str, field: str | None = None) -> None:
    """Assert that what happened to *instance* is *expected*, oldest first.

    Args:
        instance: The object; it may be deleted.
        *expected: Events as ``"moved hot>warm"``; the outside is empty: ``"entered >hot"``.
        field: Only the events of this stock field.

    Raises:
        AssertionError: If something else happened; it shows both.
    """
    found = tuple(
        f"{entry.kind} {entry.source or ''}>{entry.target or ''}"
        for entry in instance.stock_history()
        if field in (None, entry.field)
    )
    if found != expected:
        raise AssertionError(f"{instance!r} has the events {found}, not {expected}.")


def sequence(using: str = DEFAULT_DB_ALIAS, application: str | None = None) -> int:
    """Give each event that lacks one its position, inside a test's transaction too.

    Where nothing is committed, as under ``TestCase``, readers by position see an event only
    after this.

    Returns:
        How many events this call gave a position.
    """
    from stockflow.eventstore.sequencer import sequence_here  # noqa: PLC0415  needs the app registry

    return sum(sequence_here(using, application))

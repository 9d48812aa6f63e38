"""Rhythms: named frequencies and cron expressions, as the starts of periods."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol

from stockflow.domain.periods import FREQUENCIES, period_start
from stockflow.errors import InvalidDeclaration

_PUT_BACK = timedelta(hours=2, minutes=1)
"""More than clocks are put back by."""


class Rhythm(Protocol):
    """When the periods of a job begin."""

    def current(self, now: datetime) -> datetime | None:
        """Return when the period began that *now* falls into; None if there is none."""

    def following(self, start: datetime) -> datetime | None:
        """Return when the period begins that follows the one of *start*; None if none does."""


@dataclass(frozen=True)
class Every:
    """Periods of a fixed length, counted from 1970; without a length there is none."""

    length: timedelta | None

    def current(self, now: datetime) -> datetime | None:
        """As :class:`Rhythm` says."""
        return None if self.length is None else period_start(now, self.length)

    def following(self, start: datetime) -> datetime | None:
        """As :class:`Rhythm` says."""
        return None if self.length is None else start + self.length


@dataclass(frozen=True)
class Cron:
    """Periods that begin when a cron expression says so, by the wall clocks of a zone.

    What falls into a skipped hour happens after it, what falls into one that comes twice happens
    once, as in Debian's cron.
    """

    expression: str
    zone: tzinfo

    def current(self, now: datetime) -> datetime | None:
        """As :class:`Rhythm` says."""
        start: datetime
        # Where the clock was put back, what began just now is later on it than now is.
        local = (now + _PUT_BACK).astimezone(self.zone)
        for start in _cronsim(self.expression, local, reverse=True):
            if start <= now:
                return start.astimezone(UTC)
        return None

    def following(self, start: datetime) -> datetime | None:
        """As :class:`Rhythm` says."""
        found = next(iter(_cronsim(self.expression, start.astimezone(self.zone))), None)
        return None if found is None else found.astimezone(UTC)


def _cronsim(expression: str, at: datetime, *, reverse: bool = False) -> Any:
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InvalidDeclaration(
            f"The cron expression {expression!r} needs cronsim: pip install 'django-stockflow[cron]'."
        ) from error
    try:
        return CronSim(expression, at, reverse=reverse)
    except CronSimError as error:
        raise InvalidDeclaration(f"{expression!r} is no cron expression: {error}.") from error


def rhythm_of(frequency: str | None, cron: str | None, zone: tzinfo) -> Rhythm:
    """Return the rhythm that a declaration names.

    Raises:
        InvalidDeclaration: If it names none, two, or one that is unknown.
    """
    if (frequency is None) == (cron is None):
        raise InvalidDeclaration(
            f"A periodic job needs a frequency ({', '.join(FREQUENCIES)}) or cron=, not "
            f"{'both' if cron else 'neither'}."
        )
    if cron is not None:
        rhythm = Cron(cron, zone)
        _cronsim(cron, datetime.now(zone))
        return rhythm
    if frequency not in FREQUENCIES:
        raise InvalidDeclaration(
            f"{frequency!r} is no frequency: take one of {', '.join(FREQUENCIES)}, or cron=."
        )
    return Every(FREQUENCIES[frequency])

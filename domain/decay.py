"""Decay: how long a state lasts before a scheduled transition leaves it."""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from dateutil.relativedelta import relativedelta

from stockflow.domain.errors import InvalidDelay

Length = timedelta | relativedelta


@runtime_checkable
class Calendar(Protocol):
    """A rule of one's own for due instants, such as so many working days."""

    def due_at(self, since: datetime, subject: Any) -> datetime | None:
        """Return when what *subject* entered at *since* is due; None for never."""


@dataclass(frozen=True)
class Attribute:
    """A delay that each object says itself, in one of its attributes.

    That is a length, a due instant, None for never, or a whole number whose unit is the last
    word of the attribute's name, such as ``trial_days``. Hours and less are true lengths, however
    many; days and more are counted on the wall clock.
    """

    name: str

    EXACT: ClassVar = ("seconds", "minutes", "hours")
    UNITS: ClassVar = (*EXACT, "days", "weeks", "months", "years")

    @property
    def unit(self) -> str | None:
        """The unit of a number; None if the name has none."""
        word = self.name.rpartition("_")[2]
        return word if word in self.UNITS else None

    def __call__(self, subject: Any) -> "Length | datetime | None":
        """Return what *subject* says.

        >>> from types import SimpleNamespace
        >>> Attribute("trial_days")(SimpleNamespace(trial_days=14))
        relativedelta(days=+14)
        """
        value, unit = getattr(subject, self.name), self.unit
        if not isinstance(value, int) or unit is None:
            return value  # type: ignore[no-any-return]  # what it is, is checked where it is used
        if unit in self.EXACT:  # a relativedelta would make 24 hours a day
            return timedelta(**{unit: value})
        return relativedelta(**{unit: value})  # type: ignore[arg-type]  # names of lengths


Delay = Length | Calendar | Callable[[Any], "Length | datetime | None"]
"""A fixed length; a calendar length; a rule of one's own; or a function of the object, such as an
:class:`Attribute` of it, that gives a length, the due instant itself, or None for never.

A transition takes an attribute as Django's ``F``, and saving the field with another value moves
what is due."""

OnFalse = Literal["retry", "skip", "park"]
"""What becomes of a decay whose conditions are false when it is due: it stays overdue and is
tried again, it does not happen in this stay, or it is set aside for a person."""


@dataclass(frozen=True)
class Decay:
    """A transition that happens by itself, some time after its source was entered.

    Attributes:
        transition: The method.
        source: The state that it leaves.
        delay: How long after its entry.
        on_false: What becomes of it when its conditions are false.
        max_lateness: A decay later than this is left to a person; None for any.
        zone: Where a calendar length is counted; UTC by default.
    """

    transition: str
    source: str
    delay: Delay
    on_false: OnFalse = "retry"
    max_lateness: timedelta | None = None
    zone: tzinfo | None = None

    @property
    def needs_subject(self) -> bool:
        """Whether the due instant depends on the object."""
        return not isinstance(self.delay, Length)

    def due_at(self, since: datetime, subject: Any) -> datetime | None:
        """Return when it is due for *subject*, in its state since *since*; None for never.

        A calendar length is added in the decay's zone (UTC without one), month ends clipped:
        31 January and one month is the last day of February. Years to days count on the wall
        clock, hours and less are true lengths; but a relativedelta makes each 24 hours a day as soon
        as it is written, so that many hours are to be given as a timedelta. What would be due
        before *since* is due at *since*.

        >>> decay = Decay("cool", "hot", relativedelta(months=1))
        >>> decay.due_at(datetime(2026, 1, 31, tzinfo=UTC), None).isoformat()
        '2026-02-28T00:00:00+00:00'

        Raises:
            InvalidDelay: If the delay is a function or a rule and gives anything else, or an
                instant without time zone, or if no calendar reaches so far.
        """
        since = since.astimezone(UTC)  # else Python adds a length to what a wall clock shows
        try:
            if type(self.delay) is timedelta:  # the usual one first
                return max(since, since + self.delay)
            return self._counted(since, self._given(since, subject))
        except OverflowError as error:
            raise InvalidDelay(
                f"The delay of {self.transition!r} from {self.source!r}, counted from "
                f"{since.isoformat()}, leads out of the years 1 to 9999: give a shorter one, or None "
                "for never."
            ) from error

    def _given(self, since: datetime, subject: Any) -> Any:
        given: Any = self.delay
        if self.needs_subject:  # asked first: whether it is a Calendar takes long to find out
            if isinstance(given, Calendar):
                return given.due_at(since, subject)
            if callable(given):
                return given(subject)
        return given

    def _counted(self, since: datetime, length: Any) -> datetime | None:
        if length is None:
            return None
        if isinstance(length, datetime):
            if length.utcoffset() is None:
                raise self._invalid(length)
            return max(since, length.astimezone(UTC))
        if not isinstance(length, Length):
            raise self._invalid(length)
        if isinstance(length, relativedelta):
            return max(since, add_calendar(since, length, self.zone or UTC))
        return max(since, since + length)

    def _invalid(self, value: object) -> InvalidDelay:
        return InvalidDelay(
            f"The delay of {self.transition!r} from {self.source!r} gave {value!r}: give a timedelta, "
            "a relativedelta, a timezone-aware due instant, or None for never."
        )


def add_calendar(since: datetime, length: relativedelta, zone: tzinfo) -> datetime:
    """Return the instant *length* after *since*, its years to days on the wall clocks of *zone*.

    A wall time that a change of the clocks skips is as much later; of one that comes twice it
    is the first.

    >>> from zoneinfo import ZoneInfo
    >>> before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> add_calendar(before, relativedelta(days=1), ZoneInfo("Europe/Berlin")).isoformat()
    '2026-03-29T11:00:00+00:00'

    Raises:
        OverflowError: If it is out of the years 1 to 9999.
    """
    exact = timedelta(
        hours=length.hours,
        minutes=length.minutes,
        seconds=length.seconds,
        microseconds=length.microseconds,
    )
    days = copy(length)
    days.hours = days.minutes = days.seconds = days.microseconds = 0
    try:
        local = since.astimezone(zone).replace(tzinfo=None) + days
    except ValueError as error:  # what dateutil says of a year that is none
        raise OverflowError(str(error)) from error
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC) + exact


def earliest(
    decays: Iterable[Decay], since: datetime, subject: Any
) -> tuple[Decay, datetime] | None:
    """Return the decay that comes first, and when; the first declared where two are equal."""
    first: tuple[Decay, datetime] | None = None
    for decay in decays:
        at = decay.due_at(since, subject)
        if at is not None and (first is None or at < first[1]):
            first = decay, at
    return first

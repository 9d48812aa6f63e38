"""The periodic schedule: functions that run once per period, however often the command is called."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypeVar

from stockflow import conf
from stockflow.errors import InvalidDeclaration
from stockflow.scheduling.rhythms import Rhythm, rhythm_of

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Job:
    """A function of the periodic schedule.

    Attributes:
        name: What identifies its runs.
        function: What runs.
        rhythm: When its periods begin.
        catch_up: Whether a run is made for each period that was missed; else for the present one.
        at_most: A run that has not ended after so long is taken for dead, and a next one may begin.
        args: For the function.
        kwargs: For the function.
    """

    name: str
    function: Callable[..., Any]
    rhythm: Rhythm
    catch_up: bool = False
    at_most: timedelta = timedelta(hours=1)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> tuple[Any, ...]:
        """What it calls, and with what."""
        return self.function, self.args, self.kwargs

    def starts(self, last: datetime | None, now: datetime) -> Iterator[datetime]:
        """Yield the starts of the periods that are to be run at *now*, after the one of *last*."""
        current = self.rhythm.current(now)
        if current is None or (last is not None and last >= current):
            return
        start = current if last is None or not self.catch_up else self.rhythm.following(last)
        while start is not None and start <= current:
            yield start
            start = self.rhythm.following(start)

    def call(self, period: datetime, using: str) -> Any:
        """Call the function; give it *period* (its start) and *using* if it takes them."""
        taken = inspect.signature(self.function).parameters
        offered = {"period": period, "using": using}
        also = {name: value for name, value in offered.items() if name in taken}
        return self.function(*self.args, **{**also, **self.kwargs})


JOBS: dict[str, Job] = {}
"""The registered jobs, by name, in the order in which they run."""


def register(
    frequency: str | None,
    function: Callable[..., Any],
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    cron: str | None = None,
    tz: tzinfo | None = None,
    catch_up: bool = False,
    at_most: timedelta = timedelta(hours=1),
    name: str | None = None,
) -> Job:
    """Let *function* run once in each period; in an app's ``schedule`` module, found like ``admin``.

    A run is recorded with its start, end, result and error, and no other one of the same name
    begins meanwhile. One that fails is not repeated before its next period.

    Args:
        frequency: ``"never"``, ``"minutely"``, ``"twelve_minutely"``, ``"hourly"``, ``"daily"``,
            ``"weekly"``, ``"two_weekly"`` or ``"four_weekly"``, counted from 1970 in UTC; None
            with *cron*.
        function: What runs, outside any transaction. A parameter named ``period`` is given the
            start of the period, one named ``using`` the alias of the database.
        args: For the function.
        kwargs: For the function.
        cron: A cron expression instead of a frequency; needs the extra ``cron``.
        tz: The zone of the cron expression; ``STOCKFLOW_TIME_ZONE`` by default.
        catch_up: Make one run for each period missed; else the missed ones are skipped.
        at_most: A run that has not ended after so long is taken for dead.
        name: What identifies its runs; the function's module and name by default, with the slug
            of what it is a method of, such as a stock's ``save_count``.

    Raises:
        InvalidDeclaration: If the rhythm is none, or the name is another function's, or the same
            one's with other arguments; or the function has none.
    """
    name = name or _name_of(function)
    known = JOBS.get(name)
    rhythm = rhythm_of(frequency, cron, tz or conf.time_zone())
    job = Job(name, function, rhythm, catch_up, at_most, tuple(args), dict(kwargs or {}))
    if known is not None and known.calls != job.calls:  # a bound method is another one each time
        raise InvalidDeclaration(
            f"There is a periodic job {name!r} already: give this one a name=."
        )
    JOBS[name] = job
    return job


def _name_of(function: Callable[..., Any]) -> str:
    slug = getattr(getattr(function, "__self__", None), "slug", None)
    if not hasattr(function, "__qualname__"):
        raise InvalidDeclaration(
            f"{function!r} has no name of its own, by which its runs are known: give it a name=."
        )
    name = f"{function.__module__}.{function.__qualname__}"
    return name if slug is None else f"{name} of {slug}"


def periodic(frequency: str | None = None, **options: Any) -> Callable[[Function], Function]:
    """Decorate a function to run once in each period; what :func:`register` takes, by name.

    ::

        @periodic("daily")
        def tidy() -> str: ...

        @periodic(cron="0 7 * * 1-5", tz=ZoneInfo("Europe/Berlin"), catch_up=True)
        def report(period: datetime) -> None: ...
    """

    def decorate(function: Function) -> Function:
        register(frequency, function, **options)
        return function

    return decorate

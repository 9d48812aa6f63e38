"""What is due when: the waiting timers, counted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Count, Min, Q

from stockflow import conf
from stockflow.audit import length
from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.intervals import buckets, start_of_day
from stockflow.tables import ScheduledTransition


class Waiting(NamedTuple):
    """The timers of one transition.

    Attributes:
        model: The label of the model.
        field: The stock field.
        transition: The decay.
        overdue: How many were due before now, those held back included.
        parked: How many are set aside.
        by_day: How many are due on each day asked for; on the first one, from now on.
        later: How many are due after that.
    """

    model: str
    field: str
    transition: str
    overdue: int
    parked: int
    by_day: tuple[int, ...]
    later: int


class Backlog(NamedTuple):
    """How far the schedule is behind.

    Attributes:
        overdue: How many timers were due before now, those held back or failing included.
        oldest: When the first of them was due; None if there is none.
        parked: How many are set aside for a person.
        now: When that was so.
    """

    overdue: int
    oldest: datetime | None
    parked: int
    now: datetime

    def __str__(self) -> str:
        late = ""
        if self.oldest is not None:
            since = f"{self.oldest:%Y-%m-%d %H:%M:%S} UTC"
            late = f", the oldest since {since} ({length(self.now - self.oldest)})"
        return f"Overdue: {self.overdue:,}{late}. Parked: {self.parked:,}."


def backlog(*, using: str) -> Backlog:
    """Return how far the schedule is behind: what an alarm should watch."""
    now = conf.now(using)
    timers = ScheduledTransition.objects.using(using)
    overdue = Q(parked_at=None, due_at__lt=to_micros(now))
    found = timers.aggregate(
        overdue=Count("id", filter=overdue),
        oldest=Min("due_at", filter=overdue),
        parked=Count("id", filter=Q(parked_at__isnull=False)),
    )
    oldest = None if found["oldest"] is None else from_micros(found["oldest"])
    return Backlog(found["overdue"], oldest, found["parked"], now)


def waiting(days: int, *, using: str) -> tuple[list[datetime], list[Waiting]]:
    """Return the starts of the next *days* days, and what is due on each, by transition."""
    now, zone = conf.now(using), conf.time_zone()
    today = start_of_day(now.astimezone(zone).date(), zone)
    end = start_of_day(now.astimezone(zone).date() + timedelta(days=days), zone)
    cut = buckets(today, end, "day", zone)
    bounds = [to_micros(now), *(to_micros(bucket.end) for bucket in cut)]
    timers = ScheduledTransition.objects.using(using).values("model", "field", "transition")
    counted = timers.annotate(**_counts(bounds)).order_by("model", "field", "transition")
    return [bucket.start for bucket in cut], [_row(dict(found), len(cut)) for found in counted]


def _counts(bounds: Sequence[int]) -> dict[str, Any]:
    free = Q(parked_at=None)
    counts = {
        "overdue": Count("id", filter=free & Q(due_at__lt=bounds[0])),
        "parked": Count("id", filter=~free),
        "later": Count("id", filter=free & Q(due_at__gte=bounds[-1])),
    }
    for n, (start, end) in enumerate(pairwise(bounds)):
        counts[f"day{n}"] = Count("id", filter=free & Q(due_at__gte=start, due_at__lt=end))
    return counts


def _row(found: dict[str, Any], days: int) -> Waiting:
    by_day = tuple(found[f"day{n}"] for n in range(days))
    names = (found["model"], found["field"], found["transition"])
    return Waiting(*names, found["overdue"], found["parked"], by_day, found["later"])

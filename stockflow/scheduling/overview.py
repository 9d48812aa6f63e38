"""What is due when: the waiting timers, counted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Count, Q

from stockflow import conf
from stockflow.domain.instants import to_micros
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

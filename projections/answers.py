"""What a stock or flow answers with: rows, and how far they are settled."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket, Grain, buckets
from stockflow.domain.measures.changes import Value
from stockflow.domain.measures.levels import in_order
from stockflow.projections.frames import Framed, with_facet

if TYPE_CHECKING:
    from django.db import models

Row = TypeVar("Row")


class Answer(list[Row], Generic[Row]):
    """Rows, as they were at one instant.

    Attributes:
        settled_until: The oldest due instant of a decay that has not fired yet, else the
            instant of asking. What lies after it may still change.
        position: The last position of the log that the answer knows of, where it was asked
            ``as_known_at`` or ``sequenced``; None where it knows all that is committed.
    """

    def __init__(
        self, rows: Iterable[Row], settled_until: datetime, position: int | None = None
    ) -> None:
        super().__init__(rows)
        self.settled_until, self.position = settled_until, position


class SeriesRow(NamedTuple):
    """The value of one bucket, and of one facet value where the series is split.

    Bounds are in UTC, so that their difference is the bucket's true length.
    """

    start: datetime
    end: datetime
    value: int
    facet: Any = None


class Series(Answer[SeriesRow], Framed):
    """A value for each bucket, in order of time and, where split, of facet value.

    Buckets that have not begun yet have no row; one that ends after ``settled_until`` may
    still change.

    Attributes:
        by: The lookup of the facet that splits it, or None.
    """

    def __init__(
        self,
        cut: Sequence[Bucket],
        found: Mapping[Value, Sequence[int]],
        settled_until: datetime,
        by: str | None = None,
        position: int | None = None,
    ) -> None:
        self.by, values = by, in_order(found)
        super().__init__(
            (
                SeriesRow(bucket.start, bucket.end, found[value][n], value)
                for n, bucket in enumerate(cut)
                for value in values
            ),
            settled_until,
            position,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        return with_facet(("start", "end", "value"), self.by)


class Member(NamedTuple):
    """An object in a stock.

    Attributes:
        lifecycle: What identifies it in the log.
        object: The object as it is now, or None where it was deleted.
        state: The state that it was in.
        since: When it entered that state.
        facets: Its facet values at that time, by lookup; one that was not declared yet is
            missing.
    """

    lifecycle: UUID
    object: "models.Model | None"
    state: str
    since: datetime
    facets: dict[str, Any]


def begun(
    start: datetime, end: datetime, every: Grain | timedelta, tz: tzinfo | None, now: datetime
) -> tuple[Bucket, ...]:
    """Cut the buckets of a series, without those that begin after *now*."""
    zone = conf.time_zone() if tz is None else tz
    cut = buckets(start, end, every, zone, first_weekday=conf.first_weekday())
    return tuple(bucket for bucket in cut if bucket.start <= now)


def bounds_of(start: datetime, cut: Sequence[Bucket]) -> list[int]:
    """Return the bounds of *cut* in microseconds, the first being *start*."""
    return [to_micros(start), *(to_micros(bucket.end) for bucket in cut)]

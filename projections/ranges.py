"""Which part of a question the folded rows answer, and which part the log does."""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import NamedTuple

from stockflow.domain.days import Span, day_after, day_of, spans_before


class Whole(NamedTuple):
    """Whole days of a bucket: by number, and from one instant and before another."""

    bucket: int
    first: int
    last: int
    start: int
    end: int


class Piece(NamedTuple):
    """A part of a bucket that is less than a day at one of its bounds."""

    bucket: int
    start: int
    end: int


class Ranges(NamedTuple):
    """A question, cut up: *blocks* and *whole* are folded, *pieces* are read from the log."""

    blocks: list[Span]
    whole: list[Whole]
    pieces: list[Piece]


def cut(bounds: Sequence[int], tz: tzinfo, beginning: int, *, opening: bool) -> Ranges:
    """Cut the buckets between *bounds* at the days of *tz*.

    Args:
        bounds: As :func:`stockflow.projections.query.changes`.
        tz: The zone by whose days the rows were folded.
        beginning: The instant before all events.
        opening: Whether all before the first bound is asked for, as bucket 0.
    """
    ranges = Ranges([], [], [])
    if opening:
        day = day_of(bounds[0], tz)
        ranges.blocks.extend(spans_before(day.ordinal))
        # The blocks count what was folded before that day; what was not is before its start.
        ranges.whole.append(Whole(0, 0, 0, beginning, day.start))
        ranges.pieces.extend(_piece(0, day.start, bounds[0]))
    for bucket, (start, end) in enumerate(pairwise(bounds), start=1):
        _cut_bucket(ranges, bucket, start, end, tz)
    return ranges


def _cut_bucket(ranges: Ranges, bucket: int, start: int, end: int, tz: tzinfo) -> None:
    first, last = day_of(start, tz), day_of(end, tz)
    if first.start < start:
        following = day_after(first, tz)
        if following is None or following.start >= last.start:
            ranges.pieces.extend(_piece(bucket, start, end))
            return
        first = following
    if first.ordinal < last.ordinal:
        ranges.whole.append(Whole(bucket, first.ordinal, last.ordinal, first.start, last.start))
        ranges.pieces.extend(_piece(bucket, start, first.start))
        ranges.pieces.extend(_piece(bucket, last.start, end))
    else:
        ranges.pieces.extend(_piece(bucket, start, end))


def _piece(bucket: int, start: int, end: int) -> Iterator[Piece]:
    if start < end:
        yield Piece(bucket, start, end)

"""What the records of a stock answer, where the log cannot."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.intervals import Bucket
from stockflow.projections.answers import Series
from stockflow.projections.counting import slug_of

if TYPE_CHECKING:
    from stockflow.projections.facets import By
    from stockflow.projections.records import StockRecord
    from stockflow.projections.stocks import Stock


def at_instant(stock: "Stock", at: datetime, by: "By | None") -> Any:
    """Return what was recorded at an instant.

    Raises:
        InvalidInstant: If nothing was.
    """
    record = stock.records.filter(timestamp=at).first()
    if record is None:
        raise InvalidInstant(
            f"Stock {stock.slug!r} is sampled and was not counted at {at.isoformat()}"
            f"{_nearest(stock, at)}: what was not recorded cannot be known."
        )
    return record.count if by is None else _parts(record, by)


def in_buckets(stock: "Stock", cut: Sequence[Bucket], by: "By | None") -> Series:
    """Return the last record in each bucket, its very end excluded.

    Raises:
        InvalidInstant: If a bucket has none.
    """
    if not cut:
        return Series((), {None: []}, conf.now(stock.using), None if by is None else slug_of(by))
    records = stock.records.filter(timestamp__gte=cut[0].start, timestamp__lt=cut[-1].end)
    last: dict[int, StockRecord] = {}
    starts = [bucket.start for bucket in cut]
    for record in records.order_by("timestamp").prefetch_related("facets"):
        last[bisect_right(starts, record.timestamp) - 1] = record
    for n, bucket in enumerate(cut):
        if n not in last:
            raise InvalidInstant(
                f"Stock {stock.slug!r} is sampled and was not counted from "
                f"{bucket.start.isoformat()} to {bucket.end.isoformat()}"
                f"{_nearest(stock, bucket.end)}: ask for buckets that have a record, or read "
                "its records."
            )
    found = [last[n] for n in range(len(cut))]
    if by is None:
        values: dict[Any, list[int]] = {None: [record.count for record in found]}
    else:
        parts = [_parts(record, by) for record in found]
        names = {value for own in parts for value in own}
        values = {name: [own.get(name, 0) for own in parts] for name in names}
    return Series(cut, values, found[-1].timestamp, None if by is None else slug_of(by))


def _parts(record: "StockRecord", by: "By") -> dict[Any, int]:
    name = slug_of(by)
    return {part.facet_value: part.count for part in record.facets.all() if part.facet == name}


def _nearest(stock: "Stock", at: datetime) -> str:
    before = stock.records.filter(timestamp__lt=at).first()
    after = stock.records.filter(timestamp__gt=at).last()
    near = [one.timestamp.isoformat() for one in (before, after) if one is not None]
    return f" (it was at {' and '.join(near)})" if near else " (it never was)"

"""The records of a stock: its counts as rows, written at a frequency or for the past."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from django.db import router

from stockflow import conf
from stockflow.domain.cells import encode_value
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import require_instant
from stockflow.projections.counting import Count, slug_of, stock_counts
from stockflow.projections.facets import lookup_of
from stockflow.projections.stock_declarations import Options, StockDeclaration
from stockflow.scheduling import register

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.projections.recording import Written
    from stockflow.projections.records import StockRecord


class StockRecords(StockDeclaration):
    """What is written down of a stock: one row for each instant, and one for each facet value."""

    def _declare(self, slug: str, **options: Unpack[Options]) -> None:
        super()._declare(slug, **options)
        if self.frequency is not None:
            # What was missed can be counted still, unless it is sampled.
            register(
                self.frequency,
                _count,
                [self],
                name=f"stockflow.count {slug}",
                catch_up=not self.is_sampled,
            )

    @property
    def records(self) -> "QuerySet[StockRecord]":
        """Its records, the newest first."""
        from stockflow.projections.records import StockRecord  # noqa: PLC0415  needs the app registry

        return StockRecord.objects.using(self.using).filter(stock=self.slug)

    def most_recent_record(self) -> "StockRecord | None":
        """Return the newest record; None before the first one."""
        return self.records.first()

    def save_count(self, period: datetime | None = None) -> "StockRecord":
        """Count it, write a record with one row for each facet value, and return that.

        The functions of ``before_count`` are called with the stock first, those of
        ``after_count`` with the stock and the record afterwards, each outside of a transaction of
        its own making. A record for the same instant is brought to what is true by now.

        Args:
            period: The instant to count at, now by default; the periodic schedule gives the
                start of the period. A sampled stock can be counted now only, whatever it says.

        Raises:
            InvalidInstant: If *period* is not an aware datetime, or in the future.
        """
        for before in self.before_count:
            before(self)
        at = self._instant_of(period)
        self._write([at], self._counts([at]))
        record = self.records.using(self.written_to).get(timestamp=at)
        for after in self.after_count:
            after(self, record)
        return record

    def backfill(self, instants: Sequence[datetime]) -> "Iterator[Written]":
        """Write records for past *instants* from the log, and yield what became of each chunk.

        Records that are there and say otherwise, since something became known later, are
        restated. No hook is called.

        Raises:
            InvalidInstant: If an instant is not an aware datetime, or in the future.
            InvalidMeasure: If the stock is sampled: nobody can count its past.
        """
        from stockflow.projections.recording import CHUNK  # noqa: PLC0415  needs the app registry

        asked = sorted({self._instant_of(at) for at in instants})
        for first in range(0, len(asked), CHUNK):
            chunk = asked[first : first + CHUNK]
            yield self._write(chunk, self._counts(chunk))

    @property
    def written_to(self) -> str:
        """The alias of the database that its records are written to."""
        return router.db_for_write(self.subject_model)

    def _instant_of(self, at: datetime | None) -> datetime:
        now = conf.now(self.using)
        at = now if at is None else require_instant(at, "period")
        if at > now:
            raise InvalidInstant(
                f"Stock {self.slug!r} cannot be counted at {at.isoformat()}: it is only "
                f"{now.isoformat()}."
            )
        return at

    def _counts(self, instants: Sequence[datetime]) -> list[Count]:
        return stock_counts(self, instants)

    def _text_of(self, slug: str, value: Any) -> str:
        by = next(by for by in self.facets if slug_of(by) == slug)
        path = self.reference.facets[lookup_of(self.reference, by) or ""]
        return encode_value(None if value is None else path.codec.to_json(value))

    def _write(self, instants: Sequence[datetime], counts: list[Count]) -> "Written":
        from stockflow.projections.recording import write  # noqa: PLC0415  needs the app registry
        from stockflow.projections.records import StockRecord  # noqa: PLC0415  as above

        return write(
            [
                StockRecord(stock=self.slug, timestamp=at, is_sampled=self.is_sampled)
                for at in instants
            ],
            counts,
            self.facets,
            key=("stock", "timestamp"),
            text_of=self._text_of,
            using=self.written_to,
        )


def _count(stock: StockRecords, period: datetime, using: str) -> str:
    if using != stock.written_to:
        return f"nothing: it is counted in the database {stock.written_to!r}"
    return str(stock.save_count(period))

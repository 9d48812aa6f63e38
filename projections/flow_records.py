"""The records of a flow: its counts per interval as rows."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from stockflow import conf
from stockflow.domain.cells import encode_value
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.intervals import Bucket, require_range
from stockflow.domain.periods import FREQUENCIES
from stockflow.projections.counting import flow_record_counts, slug_of
from stockflow.projections.facets import lookup_of
from stockflow.projections.flow_declarations import End, FlowDeclaration, Options
from stockflow.scheduling import register

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.projections.recording import Written
    from stockflow.projections.records import FlowRecord


class FlowRecords(FlowDeclaration):
    """What is written down of a flow: one row for each interval, and one for each facet value."""

    def __init__(
        self,
        slug: str,
        *,
        sources: Iterable[End],
        sinks: Iterable[End],
        **options: Unpack[Options],
    ) -> None:
        super().__init__(slug, sources=sources, sinks=sinks, **options)
        if self.frequency is not None:
            register(
                self.frequency, _record, [self], name=f"stockflow.record {slug}", catch_up=True
            )

    @property
    def records(self) -> "QuerySet[FlowRecord]":
        """Its records, the newest first."""
        from stockflow.projections.records import FlowRecord  # noqa: PLC0415  needs the app registry

        return FlowRecord.objects.using(self.using).filter(flow=self.slug)

    def most_recent_record(self) -> "FlowRecord | None":
        """Return the record of the latest interval; None before the first one."""
        return self.records.first()

    def save_count(self, start: datetime, end: datetime) -> "FlowRecord":
        """Count the events from *start* on and before *end*, write the record, and return it.

        A record of the same interval is brought to what is true by now.

        Raises:
            InvalidInstant: If a bound is not an aware datetime, or *end* is in the future.
            InvalidBuckets: If *end* is not after *start*.
        """
        bucket = Bucket(*require_range(start, end))
        for _ in self.backfill([bucket]):
            pass
        return self.records.using(self.written_to).get(start=bucket.start, end=bucket.end)

    def backfill(self, cut: Sequence[Bucket]) -> "Iterator[Written]":
        """Write the records of past adjoining intervals, and yield what became of each chunk.

        Records that are there and say otherwise, since something became known later, are
        restated.

        Raises:
            InvalidInstant: If an interval has not ended yet.
        """
        from stockflow.projections.recording import CHUNK, write  # noqa: PLC0415  needs the app registry
        from stockflow.projections.records import FlowRecord  # noqa: PLC0415  as above

        now = conf.now(self.using)
        for first in range(0, len(cut), CHUNK):
            chunk = cut[first : first + CHUNK]
            if chunk[-1].end > now:
                raise InvalidInstant(
                    f"Flow {self.slug!r} cannot be recorded until {chunk[-1].end.isoformat()}: it "
                    f"is only {now.isoformat()}."
                )
            yield write(
                [FlowRecord(flow=self.slug, start=start, end=end) for start, end in chunk],
                flow_record_counts(self, chunk),
                self.facets,
                key=("flow", "start", "end"),
                text_of=self._text_of,
                using=self.written_to,
            )

    def _text_of(self, slug: str, value: Any) -> str:
        by = next(by for by in self.facets if slug_of(by) == slug)
        path = self.reference.facets[lookup_of(self.reference, by) or ""]
        return encode_value(None if value is None else path.codec.to_json(value))


def _record(flow: FlowRecords, period: datetime, using: str) -> str:
    length = FREQUENCIES[flow.frequency or "never"]
    if using != flow.written_to or length is None:
        return f"nothing: it is recorded in the database {flow.written_to!r}"
    return str(flow.save_count(period - length, period))

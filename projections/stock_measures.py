"""What can be measured of a stock: each number a series with its unit."""

from datetime import datetime, timedelta, tzinfo
from typing import Unpack

from stockflow.domain.intervals import Grain
from stockflow.domain.measures import formulas
from stockflow.projections.facets import By
from stockflow.projections.measured import Countable, Cutting, MeasureSeries, measured
from stockflow.projections.peaks import ExtremeSeries, extremes
from stockflow.projections.restatements import RestatementRow, restatement
from stockflow.projections.tables import Table


class StockMeasures:
    """The measures of a stock, each from one statement.

    All take *start*, *end* and ``every=``, and may take ``by=``, ``tz=``, ``as_known_at=`` and
    ``sequenced=`` (:class:`~stockflow.projections.measured.Cutting`). All give one row for each
    bucket that has begun, empty ones too, and with *by* for each facet value that has an object
    or an event in some bucket. A running bucket is partial: its numbers are those of the part
    until now. A day is 24 hours, whatever the clocks do, and buckets have their true length.
    """

    def opening(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return the level just before each bucket, in items: ``N(t0-)``.

        What happens at exactly the bucket's start belongs to the bucket. Over time it is that
        of the first bucket; facet values add up.
        """
        return measured(self, formulas.OPENING, start, end, cutting)

    def closing(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return the level just before each bucket's end, in items: ``N(t1-)``; now, if it runs.

        Over time it is that of the last bucket; facet values add up.
        """
        return measured(self, formulas.CLOSING, start, end, cutting)

    def inflow(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return how many items came from elsewhere, by flows: entered or moved.

        A move between two states of the stock is none, nor is an object adopted or reconciled.
        With *by* it counts for the facet value with which it came. It adds up over all.
        """
        return measured(self, formulas.INFLOW, start, end, cutting)

    def outflow(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return how many items went elsewhere, by flows: moved or left.

        With *by* it counts for the facet value with which it was there. It adds up over all.
        """
        return measured(self, formulas.OUTFLOW, start, end, cutting)

    def net(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return inflow less outflow, in items; it adds up over all."""
        return measured(self, formulas.NET, start, end, cutting)

    def reclassified(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return what came less what went without a flow, in items.

        That is: a facet that changed within the stock (seen with *by* only), a state that was
        renamed, split or merged, an object adopted or reconciled. So ``opening + inflow -
        outflow + reclassified == closing``, in each bucket and for each facet value.
        """
        return measured(self, formulas.RECLASSIFIED, start, end, cutting)

    def exposure(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return the time that all items together spent in it, in item-days: the integral of N.

        An item that is still there counts until the bucket's end, or now. It adds up over all.
        """
        return measured(self, formulas.EXPOSURE, start, end, cutting)

    def average_level(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return exposure over elapsed time, in items: the mean of the level at every instant.

        Unknown where no time has passed.
        """
        return measured(self, formulas.AVERAGE_LEVEL, start, end, cutting)

    def churn(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return outflow over opening level, per bucket.

        Who came and went within the bucket is in the outflow, so it may exceed 1. Unknown where
        the stock opened empty.
        """
        return measured(self, formulas.CHURN, start, end, cutting)

    def turnover(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return outflow over average level, per bucket; unknown where nobody was there."""
        return measured(self, formulas.TURNOVER, start, end, cutting)

    def days_in_stock(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return average level over daily outflow, in days; unknown where nothing went.

        In a steady stock that is the mean time spent in it.
        """
        return measured(self, formulas.DAYS_IN_STOCK, start, end, cutting)

    def cover(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return the days until the closing level is gone, should it go on falling as in the bucket.

        Closing level over daily net loss. Unknown where the stock does not fall.
        """
        return measured(self, formulas.COVER, start, end, cutting)

    def extremes(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> ExtremeSeries:
        """Return the highest and the lowest level within each bucket, in items.

        A level is what holds after all that happens at one instant. Over time the highest is
        that of the highest; facet values cannot be added up, as each peaks at its own time.
        """
        return extremes(self, start, end, cutting)

    def restatement(
        self: Countable,
        start: datetime,
        end: datetime,
        *,
        earlier: int | datetime,
        later: int | datetime | None = None,
        every: Grain | timedelta,
        by: By | None = None,
        tz: tzinfo | None = None,
    ) -> Table[RestatementRow]:
        """Return what was restated between two states of knowledge, in items.

        One row for each bucket, and with *by* each facet value, of which something else was
        said *later* than *earlier*; none where nothing was. Both are positions of the log, or
        instants, which mean the last position given by then; *later* is the last one given
        where it is left out.

        Raises:
            InvalidInstant: If one of them is in the future or not given yet, or *earlier* is
                after *later* where both are of one kind.
        """
        return restatement(
            self, start, end, earlier=earlier, later=later, every=every, by=by, tz=tz
        )

"""Roll-forwards: how each stock came from its opening to its closing level, line by line."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from stockflow.domain.measures.changes import FLOW_KINDS, Place, Value
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.sums import Sums
from stockflow.projections.answers import Answer
from stockflow.projections.facets import value_of
from stockflow.projections.frames import Framed, with_facet
from stockflow.projections.measured import Cutting, Window, window
from stockflow.projections.rows_now import live_counts

if TYPE_CHECKING:
    from stockflow.projections.flows import Flow
    from stockflow.projections.stocks import Stock

Booked = dict[Value, list[tuple[dict[str, int], dict[str, int]]]]


class RollForwardRow(NamedTuple):
    """One bucket of one stock, in items; ``opening + into - out_of + reclassified == closing``.

    *into* is the sum of ``flows_in`` and ``other_in``, *out_of* that of the other two.

    Attributes:
        flows_in: What each declared flow brought, by its slug.
        other_in: What came by a flow that is not declared.
        flows_out: What each declared flow took, by its slug.
        other_out: What went by a flow that is not declared.
        reclassified: What came, less what went, without a flow.
        adjusted: How much of that is adoption and reconciliation.
        unexplained: By how many the rows, counted now, are more than the closing level; of the
            bucket that holds now, else None, and None for a facet that rows do not have.
        is_partial: Whether the bucket is still running.
    """

    start: datetime
    end: datetime
    opening: int
    flows_in: Mapping[str, int]
    other_in: int
    flows_out: Mapping[str, int]
    other_out: int
    reclassified: int
    adjusted: int
    closing: int
    unexplained: int | None
    is_partial: bool
    facet: Any = None


class RollForward(Answer[RollForwardRow], Framed):
    """The table of one stock, in order of time and, where split, of facet value.

    Frames have a column for each declared flow: ``in: winning``, ``out: losing``.

    Attributes:
        unit: ``"item"``.
        by: The lookup of the facet that splits it, or None.
        flows_in: The slugs of the declared flows that lead into the stock, in order.
        flows_out: Those that lead out of it.
    """

    unit = "item"
    by: str | None = None
    flows_in: tuple[str, ...] = ()
    flows_out: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that a frame has."""
        usual = (
            *("start", "end", "opening"),
            *(f"in: {slug}" for slug in self.flows_in),
            "other in",
            *(f"out: {slug}" for slug in self.flows_out),
            *("other out", "reclassified", "adjusted", "closing", "unexplained", "is_partial"),
        )
        return with_facet(usual, self.by)

    def _flat(self) -> list[Sequence[Any]]:
        return [
            (
                *row[:3],
                *(row.flows_in[slug] for slug in self.flows_in),
                row.other_in,
                *(row.flows_out[slug] for slug in self.flows_out),
                *row[6:],
            )
            for row in self
        ]


def roll_forward(
    stocks: Sequence["Stock"],
    flows: Sequence["Flow"],
    start: datetime,
    end: datetime,
    cutting: Cutting,
) -> dict[str, RollForward]:
    """Return the table of each stock by its slug, the log's part all from one statement."""
    seen = window(stocks, start, end, cutting)
    holds_now = bool(seen.cut) and seen.cut[-1].end > seen.now
    is_known = seen.holds.position is None
    return {
        stock.slug: _table(
            stock,
            flows,
            seen,
            live_counts(stock, seen.lookup) if holds_now and is_known else None,
        )
        for stock in stocks
    }


def _table(
    stock: "Stock", flows: Sequence["Flow"], seen: Window, live: Mapping[Value, int] | None
) -> RollForward:
    found, booked = seen.sums(stock), _booked(stock, flows, seen)
    for value in live or ():  # rows that the log knows nothing of are unexplained too
        found.setdefault(value, [Sums(elapsed=length) for length in seen.lengths])
    last = len(seen.cut) - 1
    rows = []
    for n, bucket in enumerate(seen.cut):
        for value in in_order(found):
            one = found[value][n]
            came, went = booked[value][n] if value in booked else ({}, {})
            rows.append(
                RollForwardRow(
                    *bucket,
                    one.opening,
                    came,
                    one.inflow - sum(came.values()),
                    went,
                    one.outflow - sum(went.values()),
                    one.reclassified,
                    one.adjusted,
                    one.closing,
                    None if live is None or n < last else live.get(value, 0) - one.closing,
                    bucket.end > seen.now,
                    value,
                )
            )
    into, out_of = _leading(stock, flows)
    table = RollForward(
        (
            row._replace(
                flows_in=dict.fromkeys(into, 0) | dict(row.flows_in),
                flows_out=dict.fromkeys(out_of, 0) | dict(row.flows_out),
            )
            for row in rows
        ),
        *seen.holds,
    )
    table.by, table.flows_in, table.flows_out = seen.lookup, into, out_of
    return table


def _leading(stock: "Stock", flows: Iterable["Flow"]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the slugs of the flows that may lead into the stock, and of those that may lead out."""
    into = tuple(flow.slug for flow in flows if flow.sink_places & stock.places)
    out_of = tuple(flow.slug for flow in flows if flow.source_places & stock.places)
    return into, out_of


def _booked(stock: "Stock", flows: Sequence["Flow"], seen: Window) -> Booked:
    """Return what each flow brought and took; an event of several flows is the first one's."""
    read, booked = value_of(stock.reference, seen.lookup), Booked()
    for change, own_change in zip(seen.changes, stock.own(seen.changes), strict=True):
        if not change.bucket or change.kind not in FLOW_KINDS:
            continue
        is_into = Place(change.model, change.field, own_change.target) in stock.places
        if is_into == (Place(change.model, change.field, own_change.source) in stock.places):
            continue
        flow = next((flow for flow in flows if flow.takes(change)), None)
        if flow is not None:
            value = read(change.target_facets if is_into else change.source_facets)
            own = booked.setdefault(value, [({}, {}) for _ in seen.cut])
            lines = own[change.bucket - 1][0 if is_into else 1]
            lines[flow.slug] = lines.get(flow.slug, 0) + change.number
    return booked

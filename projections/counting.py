"""Counts at many instants at once, whole and by several facets, from one statement."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket
from stockflow.domain.measures.levels import levels
from stockflow.domain.measures.rates import flow_counts
from stockflow.projections import query
from stockflow.projections.facets import By, facet_of, lookup_of, value_of

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.projections.flow_declarations import FlowDeclaration
    from stockflow.projections.stock_declarations import StockDeclaration

Parts = dict[str, dict[Hashable, int]]
"""Counts by the slug of a facet and its value, without those of 0."""


@dataclass(frozen=True)
class Count:
    """A number and its parts."""

    number: int
    parts: Parts


def stock_counts(stock: "StockDeclaration", instants: Sequence[datetime]) -> list[Count]:
    """Return the level of an exact stock as of each of some ascending instants."""
    bounds = [to_micros(at) + 1 for at in instants]
    counted = query.changes(
        [stock.reference],
        bounds,
        using=stock.using,
        now=conf.now(stock.using),
        known={},
        split=bool(stock.facets) or stock.is_narrowed,
    )
    changes = stock.own(counted.changes)
    return _counts(
        stock.reference,
        stock.facets,
        len(instants),
        lambda read: levels(changes, buckets=len(bounds) - 1, stock=stock.places, value_of=read),
    )


def flow_record_counts(flow: "FlowDeclaration", cut: Sequence[Bucket]) -> list[Count]:
    """Return the number of events of a flow in each of some adjoining intervals."""
    counted = query.changes(
        [stock.reference for stock in flow.stocks],
        [to_micros(cut[0].start), *(to_micros(bucket.end) for bucket in cut)],
        using=flow.using,
        now=conf.now(flow.using),
        known={},
        opening=False,
        split=bool(flow.facets) or flow.is_narrowed,
    )
    changes = flow.own(counted.changes)
    return _counts(
        flow.reference,
        flow.facets,
        len(cut),
        lambda read: flow_counts(
            changes,
            buckets=len(cut),
            sources=flow.source_places,
            sinks=flow.sink_places,
            value_of=read,
        ),
    )


def _counts(
    reference: "StockReference", facets: Sequence[By], size: int, count: Any
) -> list[Count]:
    whole: Mapping[Any, Sequence[int]] = count(value_of(reference, None))
    split = {slug_of(by): count(value_of(reference, lookup_of(reference, by))) for by in facets}
    return [
        Count(
            whole[None][n],
            {
                slug: {value: own[n] for value, own in found.items() if own[n]}
                for slug, found in split.items()
            },
        )
        for n in range(size)
    ]


def slug_of(by: By) -> str:
    """Return the name under which a facet is recorded: its slug, or the lookup it has none for."""
    facet = facet_of(by)
    return facet.slug if facet is not None else str(by)

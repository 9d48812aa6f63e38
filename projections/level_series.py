"""The level series of several stocks, from one statement."""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from stockflow import conf
from stockflow.domain.intervals import Grain
from stockflow.domain.measures.levels import levels
from stockflow.projections import query
from stockflow.projections.answers import Series, begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.statements import Known

if TYPE_CHECKING:
    from stockflow.projections.stocks import Stock


def level_series(
    stocks: Iterable["Stock"],
    start: datetime,
    end: datetime,
    *,
    every: Grain | timedelta,
    by: By | None,
    tz: tzinfo | None,
    known: Known,
) -> dict[str, Series]:
    """Return the series of several stocks of one database, by slug, from one statement."""
    asked = list(stocks)
    lookups = [lookup_of(stock.reference, by) for stock in asked]
    using = asked[0].using
    now = conf.now(using)
    cut = begun(start, end, every, tz, now)
    counted = query.changes(
        [stock.reference for stock in asked],
        bounds_of(start, cut),
        using=using,
        now=now,
        known=known,
        split=by is not None or any(stock.is_narrowed for stock in asked),
    )
    answers = {}
    for stock, lookup in zip(asked, lookups, strict=True):
        found = levels(
            stock.own(counted.changes),
            buckets=len(cut),
            stock=stock.places,
            value_of=value_of(stock.reference, lookup),
        )
        ends = {value: level[1:] for value, level in found.items()}
        answers[stock.slug] = Series(
            cut, ends, counted.holds.settled_until, lookup, counted.holds.position
        )
    return answers

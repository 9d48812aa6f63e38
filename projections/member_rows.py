"""The members that a page shows: those of now are read from the rows, a page of them at a time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stockflow import conf
from stockflow.projections.answers import Member
from stockflow.projections.rows_now import rows_of

if TYPE_CHECKING:
    from stockflow.projections.stocks import Stock


class PastMembers:
    """Who was in a stock at an instant, to be cut into pages: a page reads its own only."""

    def __init__(self, stock: "Stock", at: datetime, number: int) -> None:
        self.stock, self.at, self.number = stock, at, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, part: slice) -> list[Member]:
        return self.stock.part_of_members(part, self.at)


def members_of(stock: "Stock", at: datetime | None) -> tuple[Any, datetime]:
    """Return the members, to be cut into pages, and until when that holds.

    Those of an instant, and of a stock with a facet that only the log has, come from the log;
    all others are rows. Of either a page reads its own only.
    """
    paths = stock.reference.facets.values()
    now, moment = conf.now(stock.using), timedelta(microseconds=1)
    if at is not None or any(path.is_fixed for path in paths):
        then = now if at is None else at
        levels = stock.series(then, then + moment, every=moment)
        return PastMembers(stock, then, levels[0].value), levels.settled_until
    hops = {"__".join(hop.name for hop in path.hops) for path in paths if path.hops}
    rows = rows_of(stock).order_by("pk")
    if hops:
        rows = rows.select_related(*sorted(hops))
    return rows, stock.series(now, now + moment, every=moment).settled_until


def member_of(stock: "Stock") -> Callable[[Any], Member]:
    """Return what makes a member of a row; one that is a member already stays what it is."""
    name, since_name = stock.reference.name, stock.reference.field.since_name

    def made(row: Any) -> Member:
        if isinstance(row, Member):
            return row
        facets = {lookup: _value(row, lookup) for lookup in stock.reference.facets}
        since = getattr(row, since_name)
        return Member(row.stock_lifecycle, row, getattr(row, name), since, facets)

    return made


def _value(row: Any, lookup: str) -> Any:
    for name in lookup.split("__"):
        row = getattr(row, name, None)
    return getattr(row, "pk", row)

"""Alluvial matrices: who was where at one instant, and where at another."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import require_range
from stockflow.projections.measured import Countable
from stockflow.projections.spells import moved_between
from stockflow.projections.statements import Known
from stockflow.projections.tables import Table


class AlluvialRow(NamedTuple):
    """How many objects were in one state and became another; None is the outside."""

    was: str | None
    became: str | None
    number: int


def alluvial(
    stocks: Iterable[Countable], start: datetime, end: datetime, known: Known
) -> dict[str, Table[AlluvialRow]]:
    """Return the matrix of each stock field by its label, each from one statement."""
    start, end = require_range(start, end)
    tables = {}
    for stock in stocks:
        if stock.reference.label in tables:
            continue
        now = conf.now(stock.using)
        if end > now:
            raise InvalidInstant(
                f"end is {end.isoformat()}, but it is only {now.isoformat()}: nobody knows yet "
                "who will be where."
            )
        found, holds = moved_between(
            stock.reference,
            to_micros(start),
            to_micros(end),
            using=stock.using,
            now=now,
            known=known,
        )
        rows = sorted((AlluvialRow(*row) for row in found), key=_order)
        tables[stock.reference.label] = Table(
            rows, AlluvialRow._fields, holds, units={"number": "item"}
        )
    return tables


def _order(row: AlluvialRow) -> tuple[bool, str, bool, str]:
    return row.was is None, row.was or "", row.became is None, row.became or ""

"""What the demonstration prints: levels and flow rates as tables."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from example.coaching.stocks import coaching
from example.crm.stocks import sales
from example.webplatform.stocks import web
from stockflow.projections import Process

UNTIL: Final = datetime(2026, 9, 22, tzinfo=UTC)
"""The last instant that the data know of; what decays until then is fired."""

_END: Final = UNTIL + timedelta(days=1)


def features() -> Iterator[str]:
    """Yield the levels of the features at the end of each year, and how fast they moved in it."""
    yield from _table(web, datetime(2003, 1, 1, tzinfo=UTC), "year", "%Y")


def leads() -> Iterator[str]:
    """Yield the same of the leads, by month."""
    yield from _table(sales, datetime(2025, 10, 1, tzinfo=UTC), "month", "%Y-%m")


def profiles() -> Iterator[str]:
    """Yield the same of those who are coached, by month."""
    yield from _table(coaching, datetime(2026, 4, 1, tzinfo=UTC), "month", "%Y-%m")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    r"""Yield *rows* as lines: the first column to the left, numbers to the right.

    >>> print("\n".join(aligned([["", "hot"], ["2026", "1,251"]])))
            hot
    ----  -----
    2026  1,251
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, (first, *others) in enumerate(rows):
        cells = [first.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(cells)
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _table(
    process: Process, start: datetime, every: Literal["year", "month"], form: str
) -> Iterator[str]:
    series = process.series(start, _END, every=every)
    header = [
        "",
        *(stock.name for stock in process.stocks),
        *(f"{flow.name}/week" for flow in process.flows),
    ]
    body = []
    for cells in zip(*(series[stock.slug] for stock in process.stocks), strict=True):
        begun, ended = cells[0].start, cells[0].end
        rates = [flow.rate(begun, ended, per="week") for flow in process.flows]
        levels = [f"{cell.value:,}" for cell in cells]
        body.append([format(begun, form), *levels, *(f"{rate:,.1f}" for rate in rates)])
    yield from aligned([header, *body])

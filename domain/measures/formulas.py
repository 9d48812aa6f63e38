"""Ratios of sums: each number of a stock, with its unit, as a function of what is additive.

What is unknown is None, never 0: an average over no time, a share of nothing.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from stockflow.domain.measures.sums import DAY, Sums

Number = int | float | None


class Measure(NamedTuple):
    """A number about a stock.

    Attributes:
        name: Its word.
        unit: In what it is counted; a day is 24 hours.
        formula: How it follows from what is additive.
    """

    name: str
    unit: str
    formula: Callable[[Sums], Number]


def ratio(above: float, below: float) -> float | None:
    """Return a quotient, unknown where nothing stands below.

    >>> ratio(1, 4), ratio(1, 0)
    (0.25, None)
    """
    return above / below if below else None


def _days_of_cover(s: Sums) -> float | None:
    lost = s.outflow - s.inflow
    return ratio(s.closing * s.elapsed, lost * DAY) if lost > 0 else None


OPENING: Final = Measure("opening", "item", lambda s: s.opening)
CLOSING: Final = Measure("closing", "item", lambda s: s.closing)
INFLOW: Final = Measure("inflow", "item", lambda s: s.inflow)
OUTFLOW: Final = Measure("outflow", "item", lambda s: s.outflow)
NET: Final = Measure("net", "item", lambda s: s.inflow - s.outflow)
RECLASSIFIED: Final = Measure("reclassified", "item", lambda s: s.reclassified)
EXPOSURE: Final = Measure("exposure", "item day", lambda s: s.exposure / DAY)
AVERAGE_LEVEL: Final = Measure("average level", "item", lambda s: ratio(s.exposure, s.elapsed))
CHURN: Final = Measure("churn", "per bucket", lambda s: ratio(s.outflow, s.opening))
TURNOVER: Final = Measure(
    "turnover", "per bucket", lambda s: ratio(s.outflow * s.elapsed, s.exposure)
)
DAYS_IN_STOCK: Final = Measure(
    "days in stock", "day", lambda s: ratio(s.exposure, s.outflow * DAY) if s.exposure else None
)
COVER: Final = Measure("cover", "day", _days_of_cover)
RATE: Final = Measure("rate", "item/day", lambda s: ratio(s.inflow * DAY, s.elapsed))

"""Hazards: how often an event happens per item and day of exposure, and how sure that is."""

from math import exp, inf, lgamma, log
from typing import Final, NamedTuple

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.measures.sums import DAY

_STEPS: Final = 200
_CLOSE: Final = 1e-15


class Hazard(NamedTuple):
    """Events per item-day, between *low* and *high* with the confidence asked for.

    All three are None where there is no exposure: what nobody was exposed to is unknown.
    """

    value: float | None
    low: float | None
    high: float | None


def hazard(events: int, exposure: int, confidence: float = 0.95) -> Hazard:
    """Return *events* per item-day, with its exact Poisson interval.

    >>> found = hazard(0, 10 * DAY)  # the upper bound is 3.69 / E
    >>> found.value, found.low, round(found.high, 6)
    (0.0, 0.0, 0.368888)
    >>> hazard(0, 0)
    Hazard(value=None, low=None, high=None)

    Args:
        events: How many events happened.
        exposure: Time spent in the sources, in item-microseconds.
        confidence: The chance that such an interval holds the truth, both tails equal.

    Raises:
        InvalidMeasure: If *confidence* is not between 0 and 1, or *events* is below 0.
    """
    low, high = poisson_interval(events, confidence)
    if exposure <= 0:
        return Hazard(None, None, None)
    days = exposure / DAY
    return Hazard(events / days, low / days, high / days)


def poisson_interval(events: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of the mean of a Poisson count.

    The bounds are the means under which as many events or more, or as few or fewer, have half
    of the chance that is left: quantiles of chi-squared over two.

    >>> [round(bound, 3) for bound in poisson_interval(5)]
    [1.623, 11.668]

    Raises:
        InvalidMeasure: As :func:`hazard`.
    """
    if not 0 < confidence < 1:
        raise InvalidMeasure(
            f"confidence must be between 0 and 1, such as 0.95, not {confidence!r}."
        )
    if events < 0:
        raise InvalidMeasure(f"events must be 0 or more, not {events!r}.")
    tail = (1 - confidence) / 2
    low = _mean(events - 1, 1 - tail) if events else 0.0
    return low, _mean(events, tail)


def _mean(events: int, chance: float) -> float:
    """Return the mean under which *events* or fewer have *chance*: Newton's steps, kept in bounds."""
    low, high = 0.0, inf
    mean = events + 1.0
    for _ in range(_STEPS):
        found = at_most(events, mean)
        if found > chance:
            low = mean
        else:
            high = mean
        slope = exp(events * log(mean) - mean - lgamma(events + 1))
        step = mean + (found - chance) / slope if slope else inf
        if not low < step < high:
            step = (low + high) / 2 if high < inf else 2 * mean
        if abs(step - mean) <= _CLOSE * step:
            return step
        mean = step
    return mean


def at_most(events: int, mean: float) -> float:
    """Return the chance of *events* or fewer where *mean* are expected.

    >>> round(at_most(1, 2.0), 6)  # 3 exp(-2)
    0.406006
    """
    if mean <= 0:
        return 1.0
    shape = events + 1.0
    scale = exp(shape * log(mean) - mean - lgamma(shape))
    return 1 - scale * _series(shape, mean) if mean < shape + 1 else scale * _fraction(shape, mean)


def _series(shape: float, mean: float) -> float:
    """Return the lower incomplete gamma function over its scale, as a power series."""
    term = total = 1 / shape
    while term > _CLOSE * total:
        shape += 1
        term *= mean / shape
        total += term
    return total


def _fraction(shape: float, mean: float) -> float:
    """Return the upper incomplete gamma function over its scale, as a continued fraction."""
    tiny = 1e-300
    denominator = mean + 1 - shape
    c, d = 1 / tiny, 1 / denominator
    value, n = d, 0
    while True:
        n += 1
        factor = -n * (n - shape)
        denominator += 2
        d = 1 / (factor * d + denominator or tiny)
        c = denominator + factor / c or tiny
        value *= d * c
        if abs(d * c - 1) < _CLOSE * 10:
            return value

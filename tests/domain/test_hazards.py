"""The exact Poisson interval: known values, and the tails that define it."""

from math import exp, factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.measures.hazards import at_most, hazard, poisson_interval
from stockflow.domain.measures.sums import DAY


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [
        pytest.param(0, 0, 3.6889, id="none"),
        pytest.param(1, 0.0253, 5.5716, id="one"),
        pytest.param(5, 1.6235, 11.6683, id="five"),
        pytest.param(10, 4.7954, 18.3904, id="ten"),
        pytest.param(100, 81.3639, 121.6272, id="hundred"),
    ],
)
def test_interval_is_that_of_the_tables(events: int, low: float, high: float) -> None:
    """Half of chi-squared's quantiles, as printed in any table of Poisson limits."""
    assert poisson_interval(events) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(0, 3000), st.floats(0.5, 0.999))
def test_each_tail_has_half_of_what_is_left(events: int, confidence: float) -> None:
    """Under the bounds, as many or more, and as few or fewer, are as unlikely as asked."""
    low, high = poisson_interval(events, confidence)
    tail = (1 - confidence) / 2

    assert at_most(events, high) == pytest.approx(tail, rel=1e-6)
    assert low == 0 if not events else 1 - at_most(events - 1, low) == pytest.approx(tail, rel=1e-6)
    assert low < high
    assert low <= events


@given(st.integers(0, 30), st.floats(0.01, 60))
def test_chance_is_the_sum_of_poisson_terms(events: int, mean: float) -> None:
    """Series and continued fraction equal the terms added up."""
    terms = (mean**n / factorial(n) for n in range(events + 1))

    assert at_most(events, mean) == pytest.approx(exp(-mean) * sum(terms), rel=1e-9, abs=1e-15)


def test_hazard_without_exposure_is_unknown() -> None:
    """Nobody was there: neither a hazard of 0 nor any bound."""
    assert hazard(0, 0) == (None, None, None)
    assert hazard(3, 2 * DAY).value == 1.5
    assert at_most(0, 0) == 1.0


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence: float) -> None:
    """95 is no confidence, 0.95 is."""
    with pytest.raises(InvalidMeasure, match=r"between 0 and 1, such as 0\.95"):
        hazard(1, DAY, confidence)


def test_events_are_counted() -> None:
    """Fewer than none cannot happen."""
    with pytest.raises(InvalidMeasure, match="events must be 0 or more, not -1"):
        poisson_interval(-1)

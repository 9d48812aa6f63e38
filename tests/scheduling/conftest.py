"""A clock that stands still, which only a test moves."""

from collections.abc import Iterator

import pytest

from stockflow.testing import Clock, clock
from tests.stockflow.conftest import START


@pytest.fixture(name="time", autouse=True)
def _time() -> Iterator[Clock]:
    """The clock that stockflow sees, at 3 March 2026."""
    with clock(START) as time:
        yield time

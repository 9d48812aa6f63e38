"""A clock that stands still, and people who own leads."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from stockflow.testing import Clock, clock
from tests.crm.models import Rep

START = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.fixture(name="time", autouse=True)
def _time() -> Iterator[Clock]:
    """The clock that stockflow sees, at 3 March 2026."""
    with clock(START) as time:
        yield time


@pytest.fixture(name="rep")
def _rep(db: None) -> Rep:
    """Somebody of the north team."""
    return Rep.objects.create(name="Ada", team="north")

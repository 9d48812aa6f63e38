"""Fixtures for pytest, asked for by ``pytest_plugins = ["stockflow.pytest_plugin"]``.

They go with pytest-django's ``db`` and ``transactional_db`` and with pytest-xdist::

    def test_a_lead_cools(db, stock_clock, run_due, assert_events):
        lead = Lead.objects.create()
        stock_clock.advance(timedelta(days=7))
        run_due()
        assert_events(lead, "entered >hot", "moved hot>warm")
"""

from collections.abc import Callable, Iterator

import pytest

from stockflow import testing


@pytest.fixture(name="stock_clock")
def _stock_clock() -> Iterator[testing.Clock]:
    """The clock that stockflow sees, which stands still until it is told to move."""
    with testing.clock() as time:
        yield time


@pytest.fixture(name="run_due")
def _run_due() -> Callable[..., int]:
    """:func:`stockflow.testing.run_due`: let the decays that are due happen."""
    return testing.run_due


@pytest.fixture(name="assert_events")
def _assert_events() -> Callable[..., None]:
    """:func:`stockflow.testing.assert_events`: compare an object's history."""
    return testing.assert_events

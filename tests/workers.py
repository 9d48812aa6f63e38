"""Who runs what: tests that share something costly stay on one worker, and what is long begins early.

pytest-xdist has its own mark for groups, and since pytest 9.2 loses it without a word.
"""

import re

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = re.compile(
    r"tests/(example/test_demo|house/test_packaging|web/test_browser)\.py"
    r"|tests/(example|projections)/test_real_data\.py::\w+\[(baseline|bcd_css)"
)
"""How the names of tests begin whose module's fixtures are made once for all of them."""


def together(test: str) -> str:
    """Return the name of what *test*, by its name, must share a worker with: itself, if nothing.

    >>> together("tests/example/test_demo.py::test_report")
    'tests/example/test_demo.py'
    >>> together("tests/domain/test_cells.py::test_order[a]")
    'tests/domain/test_cells.py::test_order[a]'
    """
    found = TOGETHER.match(test)
    if found is None:
        return test
    return re.sub(r"::\w+\[", "::", found[0])


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it is not typed
    """Gives each group to one worker, the largest first, then test by test."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


def long_first(items: list[pytest.Item]) -> None:
    """Order *items* so that no worker begins a long test when the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

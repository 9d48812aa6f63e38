"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A run that decides is the same each time it is repeated; at a desk each run looks elsewhere.
# A slow machine is no fault of the code: nothing is timed.
settings.register_profile("desk", deadline=None)
settings.register_profile("decisive", deadline=None, derandomize=True)
settings.load_profile("decisive" if os.environ.get("CI") else "desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be asked for."""
    parser.addoption(
        "--tampers",
        type=int,
        default=200,
        help="How many random alterations of the log `verify` must find.",
    )
    parser.addoption(
        "--answers",
        type=int,
        default=200,
        help="How many answers are compared with brute force while the log is written and folded.",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks no database, by its folder, so that it is not run on each of them."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder == "domain" or (folder == "house" and not item.get_closest_marker("django_db")):
            item.add_marker("once")

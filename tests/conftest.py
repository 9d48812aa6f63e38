"""What all tests share."""

import os

import pytest
from hypothesis import settings

# A run that decides is the same each time it is repeated; at a desk each run looks elsewhere.
settings.register_profile("decisive", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("decisive")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be asked for."""
    parser.addoption(
        "--tampers",
        type=int,
        default=200,
        help="How many random alterations of the log `verify` must find.",
    )

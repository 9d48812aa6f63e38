"""What all tests share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be asked for."""
    parser.addoption(
        "--tampers",
        type=int,
        default=200,
        help="How many random alterations of the log `verify` must find.",
    )

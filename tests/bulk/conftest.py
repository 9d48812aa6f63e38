"""A clock that stands still, and people who own leads."""

from tests.stockflow.conftest import _rep, _time

__all__ = ["_rep", "_time"]

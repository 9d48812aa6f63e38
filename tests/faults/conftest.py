"""The clock and the people of the write side's tests."""

from tests.stockflow.conftest import _rep, _time

__all__ = ["_rep", "_time"]

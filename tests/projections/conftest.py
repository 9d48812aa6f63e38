"""Declarations of a test are forgotten after it."""

import pytest

from stockflow.projections import registry


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """Give the test a registry of its own."""
    fresh = registry.Registry()
    monkeypatch.setattr(registry, "declared", fresh)
    return fresh

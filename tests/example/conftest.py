"""What the tests of the example share."""

import pytest

from stockflow.projections import registry


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """Give the test a registry of its own, for the stocks that it declares."""
    fresh = registry.Registry()
    monkeypatch.setattr(registry, "declared", fresh)
    return fresh

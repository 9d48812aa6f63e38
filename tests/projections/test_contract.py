"""The contract of projections: what can be registered, and what is refused."""

from typing import Any

import pytest

from stockflow.errors import InvalidDeclaration
from stockflow.projections import base, runner
from stockflow.projections.base import Projection, register_projection
from stockflow.projections.flow_counts import FlowCounts


class Nothing(Projection):
    """Has no rows of its own."""

    name = "tests.nothing"
    read_models = ("stockflow_projections.net",)

    def fold(self, generation: Any, after: int, until: int, *, using: str) -> None: ...


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {"flow_counts": FlowCounts()})


def changed(**words: Any) -> type[Projection]:
    """Return the projection with other attributes, as somebody else would write it."""
    return type("Changed", (Nothing,), words)


def test_what_is_registered_is_folded() -> None:
    """It stands after those of stockflow, and is found by its name."""
    register_projection(Nothing)

    assert list(base.installed) == ["flow_counts", "tests.nothing"]
    assert isinstance(base.named(["tests.nothing"], using="default")[0], Nothing)


def test_what_is_registered_twice_is_one() -> None:
    """A module that is imported again, as by a reloading server, changes nothing."""
    register_projection(Nothing)
    register_projection(Nothing)

    assert len(base.installed) == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"name": ""}, "Changed needs a name of letters, digits, dots, hyphens and underscores"),
        ({"name": "flow_counts"}, "There is a projection 'flow_counts' already"),
        ({"on_error": "ignore"}, "has on_error='ignore': give one of 'stop', 'park', 'skip'"),
        ({"version": 0}, "has version=0: give a whole number from 1"),
        ({"batch_size": True}, "has batch_size=True: give a whole number from 1"),
        ({"read_models": ()}, "needs read_models: a list of the models of its rows"),
    ],
)
def test_what_cannot_be(words: dict[str, Any], text: str) -> None:
    """A declaration that cannot work is refused when it is made."""
    with pytest.raises(InvalidDeclaration, match=text):
        register_projection(changed(**words))


def test_an_unknown_name() -> None:
    """The names that there are stand in the error."""
    with pytest.raises(base.UnknownProjection, match="no projection 'flows': there are flow_coun"):
        list(runner.project(names=["flows"]))


def test_what_the_routers_keep_elsewhere_is_not_folded(settings: Any) -> None:
    """A database without the tables of a projection has none of its generations."""
    settings.DATABASE_ROUTERS = ["tests.projections.test_contract.NoReadTables"]

    assert base.named(using="other") == []
    assert [one.name for one in base.named(using="default")] == ["flow_counts"]


class NoReadTables:
    """A router that keeps the read side out of one database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if (db, app_label) == ("other", "stockflow_projections") else None

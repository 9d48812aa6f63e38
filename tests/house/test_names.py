"""Public names are listed, sorted and explained."""

import inspect
import re
from importlib import import_module
from types import FunctionType

import pytest

from tests.house import source

GLOSSARY = (source.ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
IN_CODE = [
    re.findall(r"`([\w.]+)`", line)
    for line in GLOSSARY.splitlines()
    if line.startswith("In code: ")
]


@pytest.mark.parametrize("module", source.public_names())
def test_public_names_are_sorted(module: str) -> None:
    """``__all__`` is sorted, so that a reader finds and a merge does not clash."""
    names = source.public_names()[module]

    assert list(names) == sorted(names)


DESCRIBED = (FunctionType, classmethod, staticmethod, property)
PAIRS = [(module, name) for module, names in source.public_names().items() for name in names]


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_public_name_exists_and_is_in_the_glossary(module: str, name: str) -> None:
    """Each public name is the word of exactly one heading of the glossary."""
    headings = [names for names in IN_CODE if name in names]

    assert hasattr(import_module(module), name)
    assert len(headings) == 1, f"{module}.{name} stands under {len(headings)} headings"


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_public_name_has_docstrings(module: str, name: str) -> None:
    """What is public says what it is, and so does each method that no parent explains."""
    thing = getattr(import_module(module), name)
    inherited = {name for parent in getattr(thing, "__mro__", ())[1:] for name in vars(parent)}
    methods = {
        method: inspect.getdoc(getattr(thing, method))
        for method, value in getattr(thing, "__dict__", {}).items()
        if isinstance(value, DESCRIBED) and method not in inherited and not method.startswith("_")
    }

    assert inspect.getdoc(thing)
    assert [method for method, text in methods.items() if not text] == []


def test_glossary_names_nothing_that_is_not_there() -> None:
    """What the glossary says is in code is public somewhere."""
    public = {name for names in source.public_names().values() for name in names}
    unknown = {name for names in IN_CODE for name in names if name.split(".")[0] not in public}

    assert unknown == set()


@pytest.mark.parametrize("room", ["stockflow", "stockflow.models", "stockflow.projections"])
def test_rooms_list_their_names(room: str) -> None:
    """Each door through which users come in says what is behind it."""
    assert source.public_names().get(room)

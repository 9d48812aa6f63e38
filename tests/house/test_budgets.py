"""Modules and functions stay short enough to be read at once."""

import ast
from pathlib import Path

import pytest

from tests.house import source

LINES_OF_A_MODULE = 300
LINES_OF_A_FUNCTION = 50


@pytest.mark.parametrize("path", source.files(*source.ROOMS), ids=source.name)
def test_module_is_short(path: Path) -> None:
    """A module is one noun: one that outgrows the budget is cut by concern."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_OF_A_MODULE


@pytest.mark.parametrize("path", source.files(*source.ROOMS), ids=source.name)
def test_functions_are_short(path: Path) -> None:
    """A function does one thing."""
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION
    ]

    assert long == []

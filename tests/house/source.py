"""The project's own source, as the house tests read it."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import stockflow

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("domain", "stockflow", "projections", "example")
WRITTEN_BY_MACHINES = {"__pycache__", "migrations"}


@cache
def files(*folders: str) -> tuple[Path, ...]:
    """Return each Python file in *folders* but migrations; ``rglob`` follows no links."""
    return tuple(
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not WRITTEN_BY_MACHINES.intersection(path.parts)
    )


def name(path: Path) -> str:
    """Return *path* from the top of the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return what is in *path*, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each import of *path* as (module, name); the name is None in ``import module``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@cache
def modules() -> tuple[ModuleType, ...]:
    """Return each module of the package, imported by its dotted name."""
    found = pkgutil.walk_packages(stockflow.__path__, "stockflow.")
    names = [module.name for module in found if ".migrations" not in module.name]
    return stockflow, *map(importlib.import_module, names)


@cache
def public_names() -> dict[str, tuple[str, ...]]:
    """Return, by module, the names in its ``__all__``."""
    return {
        module.__name__: tuple(module.__all__) for module in modules() if hasattr(module, "__all__")
    }

"""example -> projections -> stockflow -> domain; between the rooms, import-linter keeps them."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.house import source

CLOCK = re.compile(r"(\b(datetime|date)\.(now|utcnow|today)|^time\.\w+)$")


@pytest.mark.parametrize("path", source.files("domain"), ids=source.name)
def test_domain_knows_no_framework(path: Path) -> None:
    """The domain imports the standard library, eventsourcing, dateutil and itself."""
    allowed = sys.stdlib_module_names | {"eventsourcing", "dateutil"}
    strangers = [
        module
        for module, _ in source.imports(path)
        if module.split(".")[0] not in allowed and not module.startswith("stockflow.domain")
    ]

    assert strangers == []


@pytest.mark.parametrize("path", source.files("domain"), ids=source.name)
def test_domain_reads_no_clock(path: Path) -> None:
    """What the domain says depends on its arguments only."""
    calls = [node for node in ast.walk(source.tree(path)) if isinstance(node, ast.Call)]
    read = [ast.unparse(call) for call in calls if CLOCK.search(ast.unparse(call.func))]

    assert read == []


@pytest.mark.parametrize("path", source.files("example"), ids=source.name)
def test_example_imports_public_names(path: Path) -> None:
    """The example takes from stockflow modules that have an ``__all__``, and what it lists."""
    public = source.public_names()
    private = [
        (module, name)
        for module, name in source.imports(path)
        if module.split(".")[0] == "stockflow"
        and not (
            name in public.get(module, ())
            or (module if name is None else f"{module}.{name}") in public
        )
    ]

    assert private == []


@pytest.mark.parametrize(
    "path", source.files("domain", "stockflow", "projections"), ids=source.name
)
def test_settings_are_read_in_one_module(path: Path) -> None:
    """A ``STOCKFLOW_`` setting is read by its function in conf.py, which has its default."""
    reads = re.findall(r"settings[.,]\s*[\"']?STOCKFLOW_", path.read_text(encoding="utf-8"))

    assert reads == [] or source.name(path) == "stockflow/conf.py"

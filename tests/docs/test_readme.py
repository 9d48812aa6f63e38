"""The README's code runs, and that of the texts beside it.

- A ``python`` block that opens with a file's name, such as ``# crm/models.py``, is a quotation:
  each of its paragraphs stands in that file of the example.
- The ``pycon`` blocks are one session, in an empty database of the example. A block that the
  reader need not see stands in a comment: ``<!--pycon`` ... ``-->``. The name *time* is the
  session's clock, which stands at 2026-03-02 09:00 UTC until told to move.
- The ``console`` blocks name targets of the Makefile that exist.
"""

import re
import subprocess
import sys
import textwrap

import pytest

from tests.house import source

PAGES = (source.ROOT / "PAGES.md").read_text(encoding="utf-8")
README = (source.ROOT / "README.md").read_text(encoding="utf-8")
PROJECTIONS = (source.ROOT / "PROJECTIONS.md").read_text(encoding="utf-8")
RUNNERS = "tests/scheduling/runners.py"
MAKEFILE = (source.ROOT / "Makefile").read_text(encoding="utf-8")
QUOTATIONS = [
    quotation
    for text in (README, PAGES, PROJECTIONS)
    for quotation in re.findall(r"```python\n# (\w+/\w+\.py)[^\n]*\n(.*?)```", text, re.DOTALL)
]
TARGETS = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    ["README.md", "MEASURES.md", "FROM_STOCKANDFLOW.md", "PROJECTIONS.md", "SCHEDULE.md"],
)
def test_session(name: str) -> None:
    """What a text's session shows is what happens."""
    command = (sys.executable, "-m", "tests.docs.session", name)
    done = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0, done.stderr or f"{name} has no session"


@pytest.mark.parametrize(("name", "code"), QUOTATIONS)
def test_quotation(name: str, code: str) -> None:
    """What a text shows of a file stands in it."""
    text = (source.ROOT / "example" / name).read_text(encoding="utf-8")
    missing = [part for part in re.split(r"\n\s*\n", code.strip("\n")) if part not in text]

    assert missing == []


def test_every_code_block_is_tested() -> None:
    """A block of Python is a quotation or a part of the session."""
    assert (README + PAGES + PROJECTIONS).count("```python\n") == len(QUOTATIONS) > 0


@pytest.mark.parametrize("target", TARGETS)
def test_make_target(target: str) -> None:
    """What the README tells to make can be made."""
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize(
    ("runner", "file"), [("celery", "stockflow/scheduling/celery.py"), ("procrastinate", RUNNERS)]
)
def test_recipe(runner: str, file: str) -> None:
    """A recipe for a task runner is what the tests run, or what its adapter says."""
    guide = (source.ROOT / "SCHEDULE.md").read_text(encoding="utf-8")
    shown = re.search(f"<!-- {runner}: begin -->\n```text\n(.*?)```", guide, re.DOTALL)
    text = (source.ROOT / file).read_text(encoding="utf-8")

    assert shown is not None
    assert textwrap.indent(shown[1], "    ") in text

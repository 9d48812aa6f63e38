"""The README's code runs.

- A ``python`` block that opens with a file's name is a quotation: each of its paragraphs stands
  in that file of the ``crm`` app.
- The ``pycon`` blocks are one session, in an empty database. A block that the reader need not
  see stands in a comment: ``<!--pycon`` ... ``-->``. The name *time* is the session's clock.
- The ``console`` blocks name targets of the Makefile that exist.
"""

import doctest
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps

from stockflow.testing import Clock, clock
from tests.house import source

README = (source.ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (source.ROOT / "Makefile").read_text(encoding="utf-8")
SESSION = "\n".join(re.findall(r"(?:```|<!--)pycon\n(.*?)(?:```|-->)", README, re.DOTALL))
QUOTATIONS = re.findall(r"```python\n# (\w+)/(\w+\.py)[^\n]*\n(.*?)```", README, re.DOTALL)
TARGETS = re.findall(r"^\$? ?make (\w+)", README, re.MULTILINE)


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(datetime(2026, 3, 2, 9, tzinfo=UTC)) as time:
        yield time


@pytest.mark.django_db
def test_session(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README's session shows is what happens."""
    app = apps.get_app_config("crm").name
    for module in ("models", "stocks"):  # under the names that a reader's own project has
        monkeypatch.setitem(sys.modules, f"crm.{module}", import_module(f"{app}.{module}"))
    test = doctest.DocTestParser().get_doctest(SESSION, {"time": time}, "README", "README.md", 0)
    report: list[str] = []

    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)

    assert test.examples
    assert report == []


@pytest.mark.parametrize(("app", "name", "code"), QUOTATIONS)
def test_quotation(app: str, name: str, code: str) -> None:
    """What the README shows of a file stands in it."""
    path = Path(str(apps.get_app_config(app).path)) / name
    text = path.read_text(encoding="utf-8")
    missing = [part for part in re.split(r"\n\s*\n", code.strip("\n")) if part not in text]

    assert missing == []


def test_every_code_block_is_tested() -> None:
    """A block of Python is a quotation or a part of the session."""
    assert README.count("```python\n") == len(QUOTATIONS)


@pytest.mark.parametrize("target", TARGETS)
def test_make_target(target: str) -> None:
    """What the README tells to make can be made."""
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)

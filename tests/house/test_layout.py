"""The repository is laid out as promised, and knows no machine but the reader's."""

import re
from pathlib import Path

import pytest

from tests.house import source

FOLDERS = {"stockflow", "domain", "projections", "example", "tests"}
MADE = {"build", "dist", "htmlcov"}
TEXTS = {".py", ".md", ".toml", ".txt", ".html", ".css", ".sql", ".in", ""}


def texts() -> list[Path]:
    """Return the text files of the project, save those that hold data."""
    made = {".coverage", ".git"}  # by a run of the tests, and by git in a worktree
    single = [p for p in source.ROOT.iterdir() if p.is_file() and p.name not in made]
    nested = [p for folder in sorted(FOLDERS) for p in sorted((source.ROOT / folder).rglob("*"))]
    scripts = sorted((source.ROOT / ".ci").iterdir())
    return [
        path
        for path in (*single, *nested, *scripts)
        if path.is_file() and path.suffix in TEXTS and not {"data", "static"} & set(path.parts)
    ]


def test_top_level() -> None:
    """The rooms, the tests and single files; nothing else that is kept."""
    folders = {
        path.name
        for path in source.ROOT.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and not path.name.endswith(".egg-info")
        and not (path / "pyvenv.cfg").exists()
    }

    assert folders - MADE == FOLDERS


@pytest.mark.parametrize("room", ["domain", "projections"])
def test_rooms_are_links(room: str) -> None:
    """``stockflow.domain`` is the folder at the top, so that there is one copy of it."""
    link = source.ROOT / "stockflow" / room

    assert link.is_symlink()
    assert link.readlink() == Path("..") / room


@pytest.mark.parametrize("path", texts(), ids=source.name)
def test_no_path_of_a_machine(path: Path) -> None:
    """A folder that only one machine has is of no use to another."""
    text = path.read_text(encoding="utf-8")

    assert re.findall(r"(?<![\w.{}*<])/(?:home|root|Users|work|opt)/", text) == []


def test_constraints_are_plain_pins() -> None:
    """constraints.txt names versions, not the place from which they come."""
    lines = (source.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


@pytest.mark.parametrize("path", source.files(*source.ROOMS), ids=source.name)
def test_nothing_is_left_unfinished(path: Path) -> None:
    """What is not built is absent: no stub, no promise in a comment."""
    found = re.findall(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b", path.read_text("utf-8"))

    assert found == []

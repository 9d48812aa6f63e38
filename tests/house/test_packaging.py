"""What is published is complete, and works where nothing else is installed."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house import source

PLACES = {
    "stockflow": Path("stockflow"),
    "domain": Path("stockflow/domain"),
    "projections": Path("stockflow/projections"),
}
KEPT = ("README.md", "LICENSE", "CHANGELOG.md", "GLOSSARY.md", "pyproject.toml")
SETTINGS = """
SECRET_KEY = "empty"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "stockflow",
    "stockflow.projections",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "empty.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        },
    }
}
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run *command* in *cwd* and return what it says, errors included if it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def expected_files() -> set[str]:
    """Return each file of the rooms by its place in the package."""
    return {
        (place / path.relative_to(source.ROOT / room)).as_posix()
        for room, place in PLACES.items()
        for path in (source.ROOT / room).rglob("*")  # which follows no links
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module", name="built")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist and wheel, from a copy: building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("built")
    ignore = shutil.ignore_patterns("__pycache__")
    for room in PLACES:
        shutil.copytree(source.ROOT / room, folder / "source" / room, symlinks=True, ignore=ignore)
    for path in source.ROOT.iterdir():
        if path.is_file() and (path.name in KEPT or path.name == "MANIFEST.in"):
            shutil.copy(path, folder / "source")
    run(sys.executable, "-m", "build", "--outdir", folder, folder / "source", cwd=folder)
    return folder


def test_wheel_is_complete(built: Path) -> None:
    """The wheel holds each file of the three rooms, claims one name, and no tests."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert names == expected_files()


def test_sdist_is_complete(built: Path) -> None:
    """The sdist holds the same, with what a reader wants."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert expected_files() | set(KEPT) <= names


def test_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """Installed with nothing but what it declares, both apps import, pass the checks and migrate."""
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    (tmp_path / "empty_settings.py").write_text(SETTINGS)
    django = (python, "-m", "django")
    settings = ("--settings", "empty_settings", "--pythonpath", ".")

    run(python, "-m", "pip", "install", "--no-input", wheel, cwd=tmp_path)
    run(*django, "check", "--fail-level", "WARNING", *settings, cwd=tmp_path)
    run(*django, "migrate", *settings, cwd=tmp_path)
    shown = run(*django, "showmigrations", "--plan", *settings, cwd=tmp_path)

    assert "[X]  stockflow.0001" in shown
    assert "[ ]" not in shown

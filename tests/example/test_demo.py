"""``make demo``: it reports, serves, can be repeated, and interrupted at any point."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.house import source

PATIENCE = 240
"""Seconds until a demonstration that hangs is given up; a busy machine is slow."""


@pytest.fixture(name="url", scope="module")
def _url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty database, of the kind that the tests run on."""
    given = os.environ.get("DATABASE_URL")
    if not given:
        yield f"sqlite:///{tmp_path_factory.mktemp('demo') / 'demo.sqlite3'}"
        return
    import psycopg

    name = f"stockflow_demo_{os.getpid()}"
    parts = urlsplit(given)
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(parts._replace(path=f"/{name}"))
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def start(url: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start the demonstration."""
    return subprocess.Popen(
        [sys.executable, "-u", "example/manage.py", "demo", *arguments],
        cwd=source.ROOT,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "example.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(demo: "subprocess.Popen[str]", text: str) -> str:
    """Return what it says until *text* is in it, or it ends."""
    said = ""
    assert demo.stdout is not None
    for line in demo.stdout:
        said += line
        if text in line:
            return said
    return said


def interrupt(demo: "subprocess.Popen[str]") -> str:
    """Press Ctrl-C, and return what it still says."""
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=PATIENCE)
    return said


@pytest.fixture(name="interrupted", scope="module")
def _interrupted(url: str) -> tuple[int, str]:
    """Exit code and words of a demonstration that was interrupted while it loaded."""
    demo = start(url, "--no-serve")
    said = read_until(demo, "Loading")
    time.sleep(4)
    said += interrupt(demo)
    return demo.returncode, said


@pytest.fixture(name="report", scope="module")
def _report(url: str, interrupted: tuple[int, str]) -> str:
    """What the demonstration says when it is run again."""
    said, _ = start(url, "--no-serve").communicate(timeout=PATIENCE)
    return said


def test_interrupted(interrupted: tuple[int, str]) -> None:
    """Ctrl-C ends it with a word and no traceback."""
    code, said = interrupted

    assert code == 130
    assert "Interrupted. Run it again" in said
    assert "Traceback" not in said


def test_report(report: str) -> None:
    """It goes on where it stopped, and reports what the real data say."""
    lines = [line.split()[:4] for line in report.splitlines()]

    assert ["2014", "6,307", "0", "0"] in lines
    assert ["2026", "5,079", "1,251", "8,758"] in lines
    assert "stockflow.schedule" in report.partition("audit trail")[2]


def test_repeated(url: str, report: str) -> None:
    """Run once more it loads nothing, fires nothing, and reports the same."""
    said, _ = start(url, "--no-serve").communicate(timeout=PATIENCE)

    assert "Loaded 0 features" in said
    assert "Fired 0 decays" in said
    assert tables(said) == tables(report)


def test_serves(url: str, report: str) -> None:
    """It serves its pages at the port asked for, until interrupted."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    demo = start(url, "--port", str(port))
    said = read_until(demo, "Quit the server")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
        page = answer.read()
    said += interrupt(demo)

    assert b'name="password"' in page
    assert f"http://127.0.0.1:{port}/" in said
    assert "login: demo, password: demo" in said
    assert "Traceback" not in said
    assert demo.returncode == 0


def tables(said: str) -> list[str]:
    """Return the tables of a report; what is open grows, so the audit trail is left out."""
    return said.partition("Web features:")[2].partition("audit trail")[0].splitlines()

"""The databases that are measured, each in a process of its own: Django knows one set of settings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import django

DATABASES = ("sqlite", "postgresql")


def each(module: str) -> int:
    """Run *module* with this run's arguments for each database; return the worst exit code."""
    command = [sys.executable, "-m", module, *sys.argv[1:], "--database"]
    return max(subprocess.run([*command, name], check=False).returncode for name in DATABASES)


@contextmanager
def made(name: str, *, kept_as: str = "") -> Iterator[None]:
    """Set Django up for a new database of the kind *name*, which is dropped at the end.

    With *kept_as* it is one of that name, taken as it is if it is there, and kept.
    """
    os.environ["BENCHMARK_DATABASE"] = name
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
    if kept_as:
        os.environ["BENCHMARK_NAME"] = kept_as
    django.setup()
    from django.db import connection  # it needs the settings

    keep = bool(kept_as)
    try:
        connection.creation.create_test_db(
            verbosity=0, autoclobber=True, serialize=False, keepdb=keep
        )
        yield
    finally:
        connection.creation.destroy_test_db("", verbosity=0, keepdb=keep)

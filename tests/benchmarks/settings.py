"""The settings of the benchmark: one database, named by the environment, and every peer's app."""

import os
import tempfile
from pathlib import Path

from tests.settings import DEFAULT_AUTO_FIELD, SECRET_KEY, TIME_ZONE, USE_TZ, database

__all__ = [
    "DATABASES",
    "DEFAULT_AUTO_FIELD",
    "INSTALLED_APPS",
    "MIGRATION_MODULES",
    "SECRET_KEY",
    "TIME_ZONE",
    "USE_TZ",
]

POSTGRESQL = "postgres://postgres@127.0.0.1:5432/stockflow"


def _database() -> dict[str, object]:
    # Runs beside each other share nothing, but for a database that is to be kept.
    name = os.environ.get("BENCHMARK_NAME") or f"stockflow_benchmark_{os.getpid()}"
    if os.environ.get("BENCHMARK_DATABASE") == "postgresql":
        found = database(os.environ.get("DATABASE_URL") or POSTGRESQL)
    else:
        found = database(None)
        name = str(Path(tempfile.gettempdir()) / f"{name}.sqlite3")
    return found | {"NAME": name, "TEST": {"NAME": name}}


DATABASES = {"default": _database()}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_fsm_log",
    "simple_history",
    "stockflow",
    "stockflow.projections",
    "tests.benchmarks",
]
# The history of simple-history refers to auth, so both are made in the same step.
MIGRATION_MODULES = dict.fromkeys(("auth", "contenttypes", "django_fsm_log"))

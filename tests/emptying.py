"""Emptying the databases after a test that committed: what it filled, not each table that there is.

Django's flush empties some seventy tables and lets ``post_migrate`` look at all of them again, a
third of a second for each of hundreds of tests. Here what has no rows is left alone. A test that
changed the fence, or what migrations left in tables, gets Django's flush all the same.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections
from django.test import TransactionTestCase

from stockflow.eventstore.triggers import lifted_by_flush
from stockflow.fence import installing

LEFT = [ContentType._meta.db_table, Permission._meta.db_table]
"""What ``post_migrate`` fills."""

Standing = tuple[dict[str, tuple[str, str]], list[int]]


def standing(using: str) -> Standing:
    """Return what only a whole flush mends: the fence, and how many rows ``post_migrate`` left."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in LEFT))
        counts = list(cursor.fetchone())
    return installing.installed(using), counts


def filled(using: str) -> list[str]:
    """Return the tables that have rows, but for those that are left."""
    connection = connections[using]
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT "
            + ", ".join(
                f"EXISTS (SELECT 1 FROM {connection.ops.quote_name(name)})" for name in names
            )
        )
        found = zip(names, cursor.fetchone(), strict=True)
    return [name for name, has_rows in found if has_rows and name not in LEFT]


def empty(using: str) -> None:
    """Delete all rows of a database, but for those that ``post_migrate`` makes."""
    connection, tables = connections[using], filled(using)
    if not tables:
        return
    if connection.vendor == "postgresql":
        # TRUNCATE makes new files, and takes with it each table that refers to one.
        deletions = [f"DELETE FROM {connection.ops.quote_name(name)}" for name in tables]
        connection.ops.execute_sql_flush(
            ["SET LOCAL session_replication_role = replica", *deletions]  # no triggers
        )
        return
    with lifted_by_flush(connection):
        statements = connection.ops.sql_flush(no_style(), tables, reset_sequences=False)
        connection.ops.execute_sql_flush(statements)


def can_be_emptied(using: str) -> bool:
    """Whether who runs the tests may leave triggers aside, which PostgreSQL asks a superuser for."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        return bool(cursor.fetchone()[0])


def instead_of_flush() -> Callable[[Any], None]:
    """Return a ``_fixture_teardown`` that leaves all to Django once, and then looks for the same."""
    plain = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
    first: dict[str, Standing] = {}

    def teardown(case: Any) -> None:
        names = case._databases_names(include_mirrors=False)
        asks = case.serialized_rollback or case.reset_sequences or case.available_apps is not None
        if asks or getattr(case, "is_flushed", False):
            plain(case)
        elif any(using not in first or standing(using) != first[using] for using in names):
            plain(case)
            for using in filter(can_be_emptied, names):
                first.setdefault(using, standing(using))
        else:
            for using in names:
                empty(using)

    return teardown

"""Temporary tables of a fold: what a batch comes to, before it goes into the read tables."""

from collections.abc import Mapping
from typing import Any


def empty(cursor: Any, stages: Mapping[str, str]) -> None:
    """Make temporary tables, by name and columns, where they are not there yet, and empty them."""
    for stage, columns in stages.items():
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ({columns})")
        cursor.execute(f"DELETE FROM {stage}")


def fill(cursor: Any, stage: str, sql: str, values: list[Any]) -> None:
    """Run an insert into a temporary table, of which PostgreSQL keeps no statistics by itself."""
    cursor.execute(sql, values)
    if cursor.db.vendor == "postgresql":
        # Of few rows: how many there are is what the next statement's plan depends on.
        cursor.execute(
            f"SET LOCAL default_statistics_target = 10; ANALYZE {stage};"
            " SET LOCAL default_statistics_target = DEFAULT"
        )

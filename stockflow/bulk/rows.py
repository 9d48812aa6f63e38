"""Many rows in one go: arrays on PostgreSQL, one prepared statement run again on SQLite."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stockflow.facets import Fragment

Row = tuple[Any, ...]


def among(connection: Any, column: str, keys: Sequence[Any]) -> Fragment:
    """Return the test that *column* is one of *keys*, as the database keeps them: one parameter."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)", (list(keys),)
    return f"{column} IN (SELECT value FROM json_each(%s))", (json.dumps(list(keys)),)


def insert(
    connection: Any,
    table: str,
    types: Mapping[str, str],
    rows: Sequence[Row],
    *,
    also: Mapping[str, Fragment],
    suffix: str = "",
) -> None:
    """Insert *rows*, the columns of *types*; *also* gives further columns, the same for all."""
    into = f"INSERT INTO {table} ({', '.join([*types, *also])})"
    same = [value for _, values in also.values() for value in values]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            chosen = ", ".join(["v.*", *(sql for sql, _ in also.values())])
            sql = f"{into} SELECT {chosen} FROM {_arrays(types.values())} v{suffix}"
            cursor.execute(sql, [*same, *_columns(rows)])
        else:
            chosen = ", ".join([*["%s"] * len(types), *(sql for sql, _ in also.values())])
            sql = f"{into} VALUES ({chosen}){suffix}"
            cursor.executemany(sql, [(*row, *same) for row in rows])


def update(
    connection: Any, table: str, key: str, types: Mapping[str, str], rows: Sequence[Row]
) -> int:
    """Update the row of each key at each version; return how many there were.

    Args:
        connection: To the database.
        table: The quoted table.
        key: The quoted column of its primary key.
        types: The types of the key, of the version and then of the quoted columns to set.
        rows: Keys ascending, versions, and the values to set.
    """
    names = [*types][2:]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            values = ", ".join(["k", "b", *(f"c{n}" for n in range(len(names)))])
            to = ", ".join(f"{name} = v.c{n}" for n, name in enumerate(names))
            # The range tells the planner to read one stretch of the key, not the whole table.
            sql = (
                f"UPDATE {table} AS r SET {to} FROM {_arrays(types.values())} AS v({values}) "
                f"WHERE r.{key} = v.k AND r.stock_version = v.b AND r.{key} BETWEEN %s AND %s"
            )
            cursor.execute(sql, [*_columns(rows), rows[0][0], rows[-1][0]])
        else:
            to = ", ".join(f"{name} = %s" for name in names)
            sql = f"UPDATE {table} SET {to} WHERE {key} = %s AND stock_version = %s"
            cursor.executemany(sql, [(*row[2:], *row[:2]) for row in rows])
        return int(cursor.rowcount)


def array_type(connection: Any, field: Any) -> str:
    """Return the type of *field*'s column without its length, which a cast would enforce silently."""
    if connection.vendor != "postgresql":
        return ""
    return re.sub(r"\(.*?\)", "", field.db_type(connection))


def _arrays(types: Any) -> str:
    return f"unnest({', '.join(f'%s::{name}[]' for name in types)})"


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [[_plain(value) for value in column] for column in zip(*rows, strict=True)]


def _plain(value: Any) -> Any:
    # An array has one type: a member of TextChoices is a text like the others.
    return str.__str__(value) if isinstance(value, str) else value

"""Many rows in one go: arrays on PostgreSQL, one prepared statement run again on SQLite."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models

from stockflow.arrays import columns_of, listed
from stockflow.facets import Fragment, joined

Row = tuple[Any, ...]


def among(connection: Any, column: str, keys: Sequence[Any]) -> Fragment:
    """Return the test that *column* is one of *keys*, as the database keeps them: one parameter."""
    is_postgresql = connection.vendor == "postgresql"
    return among_listed(connection, column, listed(keys) if is_postgresql else json.dumps([*keys]))


def among_listed(connection: Any, column: str, keys: Any) -> Fragment:
    """As :func:`among`, of *keys* in the database's own notation: an array's, or JSON."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)", (keys,)
    return f"{column} IN (SELECT value FROM json_each(%s))", (keys,)


class Among(models.Lookup):
    """The test that a column is one of many numbers, or of the UUIDs that the database gave as texts."""

    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the test and its values."""
        column, values = self.process_lhs(compiler, connection)
        is_postgresql = connection.vendor == "postgresql"
        keys = f"{{{','.join(map(str, self.rhs))}}}" if is_postgresql else json.dumps(self.rhs)
        test, chosen = among_listed(connection, column, keys)
        return test, [*values, *chosen]


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
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            source, arrays, columns = columns_of(types, rows)
            chosen, given = joined([*columns.values(), *also.values()])
            cursor.execute(f"{into} SELECT {chosen} FROM {source}{suffix}", [*given, *arrays])
        else:
            chosen, same = joined([*[("%s", ())] * len(types), *also.values()])
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
            source, arrays, columns = columns_of(types, rows)
            (k, ks), (b, bs), *given = columns.values()
            pairs = zip(names, given, strict=True)
            sets, values = joined([(f"{name} = {sql}", its) for name, (sql, its) in pairs])
            # The range tells the planner to read one stretch of the key, not the whole table.
            sql = (
                f"UPDATE {table} AS r SET {sets} FROM {source} "
                f"WHERE r.{key} = {k} AND r.stock_version = {b} AND r.{key} BETWEEN %s AND %s"
            )
            cursor.execute(sql, [*values, *arrays, *ks, *bs, rows[0][0], rows[-1][0]])
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

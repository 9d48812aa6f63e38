"""Updating one row by plain SQL, whose text is worked out once for each shape."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import connections, models

from stockflow.adapting import Adapter, NeedsDjango, adapter_of
from stockflow.facets import Fragment, joined

Columns = Iterable[tuple["models.Field[Any, Any]", Any, Any]]
"""What to write, as ``Model.save()`` hands it about: the field, nothing, the value."""


def update_row(
    cursor: Any,
    rows: "models.QuerySet[Any]",
    pk: Any,
    expected: Mapping[str, Any],
    columns: Columns,
    along: list[Fragment],
    calls: Sequence[Fragment] = (),
) -> int | None:
    """Update the row of key *pk* if it is as *expected*.

    It does what ``rows.filter(...).update(...)`` does, without building a query each time:
    half of what a save costs.

    What is to go *along* goes in the same statement where the database knows how, and is then
    taken out of the list; so do the *calls* that append events. They are made once the row is
    found and locked, and the triggers that look at both run when all is done.

    Returns:
        How many rows there were; None, and nothing is done, if it takes Django to say.
    """
    meta: Any = rows.model._meta
    connection = cursor.db
    if rows.query.where or meta.pk is None:
        return None
    names, given = [], []
    for column, _, value in columns:
        names.append(column.attname)
        given.append(value)
    tests = {meta.pk.attname: pk, **expected}
    nulls = tuple([(name, value is None) for name, value in tests.items()])
    shape = _shape(connection.alias, meta, tuple(names), nulls)
    if shape is None:
        return None
    given += [value for value in tests.values() if value is not None]
    sql, adapters = shape
    try:
        values = [adapt(one, connection) for adapt, one in zip(adapters, given, strict=True)]
    except NeedsDjango:
        return None
    if connection.vendor == "postgresql" and (calls or along):
        made, its = joined([*calls, *along])
        sql, values = f"{sql} RETURNING {made}", [*values, *its]
        along.clear()
    cursor.execute(sql, values)
    return int(cursor.rowcount)


@lru_cache(maxsize=1024)
def _shape(
    using: str, meta: Any, names: tuple[str, ...], tests: tuple[tuple[str, bool], ...]
) -> tuple[str, tuple[Adapter, ...]] | None:
    """Return the text of the statement, and how each of its values is adapted, in order."""
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = [meta.get_field(name) for name in names]
    if not columns or any(
        hasattr(column, "get_placeholder") or hasattr(column, "get_placeholder_sql")
        for column in columns
    ):
        return None
    assignments = ", ".join(f"{quote(column.column)} = %s" for column in columns)
    where = " AND ".join(
        f"{quote(meta.get_field(name).column)} {'IS NULL' if is_null else '= %s'}"
        for name, is_null in tests
    )
    tested = [meta.get_field(name) for name, is_null in tests if not is_null]
    adapters = [adapter_of(column, connection.vendor) for column in (*columns, *tested)]
    return f"UPDATE {quote(meta.db_table)} SET {assignments} WHERE {where}", tuple(adapters)

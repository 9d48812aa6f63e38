"""Columns of many rows in few values: PostgreSQL reads back what was given."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from stockflow.arrays import columns_of, listed
from stockflow.facets import joined
from stockflow.rows import among
from tests.crm.models import Shade

AT = datetime(2026, 3, 3, 12, tzinfo=UTC)
EAST = datetime(2026, 3, 3, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "texts": ("text", ['{"a":"b,\\"c"}', "", "it's 50 %"]),
    "nulls": ("text", [None, "", "NULL"]),
    "separators": ("text", ["a\x1fb", "\x1e", None]),
    "separator-only": ("text", ["\x1e", None, None]),
    "members": ("text", [Shade.LIGHT, Shade.DARK, Shade.LIGHT]),
    "alike": ("text", ["same", "same", "same"]),
    "nothing": ("bigint", [None, None, None]),
    "numbers": ("bigint", [2**62, -1, None]),
    "truths": ("boolean", [True, False, None]),
    "decimals": ("numeric", [Decimal("1.50"), Decimal("-1E+3"), None]),
    "instants": ("timestamptz", [AT, EAST, None]),
    "uuids": ("uuid", [UUID(int=1), UUID(int=2**127), None]),
    "bytes": ("bytea", [b"{\x00\\}", b"", None]),
    "lists": ("jsonb", [None, None, None]),
    "mixed": ("text", ["a", None, "b"]),
    "floats": ("float8", [0.1, float("inf"), -0.0]),
}


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite takes rows one by one")
@pytest.mark.parametrize("count", [1, 3])
def test_columns_come_back(count: int) -> None:
    """Whatever stands in them: separators, quotes, nothing at all."""
    types = {name: kind for name, (kind, _) in COLUMNS.items()}
    rows = [*zip(*(values[:count] for _, values in COLUMNS.values()), strict=True)]
    source, arrays, columns = columns_of(types, rows)
    chosen, values = joined([*columns.values()])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {chosen} FROM {source}", [*values, *arrays])
        found = [[bytes(v) if isinstance(v, memoryview) else v for v in r] for r in cursor]

    assert found == [[*row] for row in rows]


@pytest.mark.django_db
@pytest.mark.parametrize("keys", [[1, 5], [UUID(int=1)], ["a,b", "}"], []], ids=str)
def test_among(keys: list[Any]) -> None:
    """Keys of any type are compared with a column of theirs."""
    kept = [
        key.hex if isinstance(key, UUID) and connection.vendor == "sqlite" else key for key in keys
    ]
    with connection.cursor() as cursor:
        for key in (*kept, None):
            test, values = among(connection, "x.key", kept)
            cursor.execute(f"SELECT {test} FROM (SELECT %s AS key) x", [*values, key])
            assert bool(cursor.fetchone()[0]) is (key is not None)


def test_few_values_are_sent() -> None:
    """What is alike is one value, what is split is one text."""
    source, arrays, columns = columns_of(
        {"a": "text", "b": "text", "c": "bigint"}, [("x", "p", 1), ("x", "q", 2)]
    )

    assert columns["a"] == ("%s::text", ("x",))
    assert arrays == ["p\x1fq", "1\x1f2"]
    assert source.count("string_to_array") == 2
    assert listed([1, 2]) == "{1,2}"

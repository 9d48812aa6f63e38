"""The hash chain: each position's hash covers its event and the position before it."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from django.db import models

from stockflow.tables import Event

GENESIS = bytes(32)
"""What the first position of a log is linked to."""


def link(previous: bytes, values: Iterable[Any]) -> bytes:
    """Return the hash of *values*, linked to the hash *previous*.

    Each value is preceded by its kind and its length, so that nothing can be moved from one
    to the next unseen.

    >>> link(GENESIS, ["stockflow", 1, None]).hex()[:8]
    'f95c7e33'

    Args:
        previous: The hash of the position before, :data:`GENESIS` for the first.
        values: Whole numbers, bytes, text or None, as the database holds them.
    """
    return sha256(previous + b"".join(map(_pack, values))).digest()


def _pack(value: Any) -> bytes:
    if value is None:
        return b"n0:"
    if isinstance(value, bytes):
        return b"b%d:%b" % (len(value), value)
    if isinstance(value, int):
        kind, data = b"i", b"%d" % value
    elif isinstance(value, str):
        kind, data = b"t", value.encode()
    elif isinstance(value, memoryview):
        kind, data = b"b", bytes(value)
    else:  # a number where SQLite should hold text: never written so
        kind, data = b"?", repr(value).encode()
    return b"%c%d:%b" % (kind, len(data), data)


def columns(connection: Any, alias: str = "e") -> str:
    """Return the expressions that read all columns of an event, texts as UTF-8 bytes.

    As bytes they are compared as they are stored: a damaged text may be no text any more.
    """
    quote = connection.ops.quote_name
    return ", ".join(
        as_bytes(connection, f"{alias}.{quote(field.column)}")
        if isinstance(field, models.CharField | models.TextField)
        else f"{alias}.{quote(field.column)}"
        for field in Event._meta.concrete_fields
    )


def as_bytes(connection: Any, column: str) -> str:
    """Return the expression that reads a column of text as UTF-8."""
    if connection.vendor == "postgresql":
        return f"convert_to({column}, 'UTF8')"
    return (
        f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) "
        f"WHEN 'null' THEN NULL ELSE 'no text' END"
    )

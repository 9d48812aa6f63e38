"""The hash chain: each position's hash covers its event and the position before it.

What an event says of people is covered by a salted digest, which stays when an erasure destroys it
and its salt. So the chain holds with what is erased, and nobody can find out what it was by trying.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from django.db import models

from stockflow.eventstore.payloads import lasting
from stockflow.tables import Event

GENESIS = bytes(32)
"""What the first position of a log is linked to."""

SALT = 16
"""How many random bytes are a salt."""

SAID = ("actor", "reason", "correlation", "payload")
"""The columns that an erasure empties, the last ones of an event."""

_COLUMNS = [field.attname for field in Event._meta.concrete_fields]
_KIND = _COLUMNS.index("kind")


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


def hash_of(
    previous: bytes,
    place: Iterable[Any],
    event: Sequence[Any],
    *,
    salt: bytes | None = None,
    digest: bytes | None = None,
) -> bytes:
    """Return the hash of a position.

    Args:
        previous: That of the position before.
        place: The application, the position and when it was given.
        event: The event's :func:`columns`.
        salt: The position's salt.
        digest: The digest of what the event said, where that is erased.
    """
    payload = event[-1]
    if digest is None:
        digest = digest_of(salt, event)
        # What the payloads of other applications hold only they know.
        is_ours = event[_KIND] and isinstance(payload, bytes | memoryview)
        payload = lasting(bytes(payload)) if is_ours else None
    return link(previous, [*place, *event[: -len(SAID)], payload, digest])


def digest_of(salt: bytes | None, event: Sequence[Any]) -> bytes:
    """Return the digest of what an *event*, its :func:`columns`, says of people."""
    return link(b"", [salt, *event[-len(SAID) :]])


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

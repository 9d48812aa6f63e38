"""Columns of many rows as PostgreSQL takes them fastest: what is alike once, the rest as one text.

The driver writes an array value by value, in Python. One text for the database to split is made in
one call, so it is taken wherever the values' types and texts allow it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from stockflow.facets import Fragment

_BETWEEN, _NULL = "\x1f", "\x1e"
_TEXTS: dict[type, Callable[[Any], str]] = {
    str: str.__str__,
    int: int.__repr__,
    UUID: str,
    date: str,  # instants are dates, too
    Decimal: str,
    bytes: lambda value: f"\\x{value.hex()}",
}
"""How the database reads the values of each type."""


class Columns(NamedTuple):
    """Rows as a table of SQL.

    Attributes:
        source: What stands in FROM, with the alias ``v``.
        arrays: The values of the source.
        columns: The expression of each column, by name, and its values.
    """

    source: str
    arrays: list[Any]
    columns: dict[str, Fragment]


def columns_of(types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Return *rows* as a table of the columns *types*."""
    made: dict[str, Fragment] = {}
    sources, arrays = list[str](), list[Any]()
    for (name, kind), values in zip(types.items(), zip(*rows, strict=True), strict=True):
        if _are_alike(values):
            made[name] = f"%s::{kind}", (_plain(values[0]),)
            continue
        made[name] = f"v.c{len(sources)}", ()
        source, value = array(kind, values)
        sources.append(source)
        arrays.append(value)
    names = ", ".join(f"c{n}" for n in range(len(sources)))
    source = f"unnest({', '.join(sources)}) AS v({names})" if sources else "(SELECT 1) AS v"
    return Columns(source, arrays, made)


def array(kind: str, values: Sequence[Any]) -> tuple[str, Any]:
    """Return the expression of an array of *kind*, and its one value."""
    joined = _joined(values)
    if joined is None:
        return f"%s::{kind}[]", [_plain(value) for value in values]
    return f"string_to_array(%s, chr(31), chr(30))::{kind}[]", joined


def listed(keys: Sequence[Any]) -> Any:
    """Return *keys* as an array of the type that they are compared with."""
    kinds = {*map(type, keys)}
    for kind in (int, UUID):
        if all(issubclass(each, kind) for each in kinds):
            return f"{{{','.join(map(_TEXTS[kind], keys))}}}"
    return list(keys)


def _joined(values: Sequence[Any]) -> str | None:
    """Return the values as one text; None where it could not be split into the same again."""
    kinds = {*map(type, values)}
    nulls = values.count(None) if type(None) in kinds else 0
    kinds.discard(type(None))
    text = next((t for base, t in _TEXTS.items() if all(issubclass(k, base) for k in kinds)), None)
    if text is None:
        return None
    if nulls:
        joined = _BETWEEN.join(_NULL if value is None else text(value) for value in values)
    else:
        joined = _BETWEEN.join(map(text, values))
    is_clear = joined.count(_BETWEEN) == len(values) - 1 and joined.count(_NULL) == nulls
    return joined if joined and is_clear else None


def _are_alike(values: Sequence[Any]) -> bool:
    first = _plain(values[0])
    if not (first is None or type(first) in (str, int, bytes, UUID, datetime)):
        return len(values) == 1
    return bool(values[-1] == first) and values.count(first) == len(values)


def _plain(value: Any) -> Any:
    # An array has one type: a member of TextChoices is a text like the others.
    return str.__str__(value) if isinstance(value, str) else value

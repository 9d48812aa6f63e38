"""Values as the database takes them: what is plain already goes the short way.

``Field.get_db_prep_save`` asks some ten functions about each value, and that a text is a text is
most often all that they find. Here it is asked once for each field which of them can be left out.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import models

Adapter = Callable[[Any, Any], Any]
"""Of a value and the connection: the value as the database takes it."""


class NeedsDjango(TypeError):
    """The value is an expression, which only a query of Django's can write."""


def adapter_of(field: "models.Field[Any, Any]", vendor: str) -> Adapter:
    """Return what does as ``field.get_db_prep_save`` does, on a database of that *vendor*.

    Raises:
        NeedsDjango: By what is returned, if a value is an expression.
    """
    leaf: Any = field
    while (
        isinstance(leaf, models.ForeignKey)
        and type(leaf).get_db_prep_save is models.ForeignKey.get_db_prep_save
    ):
        leaf = leaf.target_field
    for base, exact, shortcut in _SHORTCUTS.get(vendor, ()):
        if isinstance(leaf, base) and _prepares_like(leaf, base):
            return _short(partial(_whole, field), leaf, exact, shortcut)
    return partial(_whole, field)


def _prepares_like(field: "models.Field[Any, Any]", base: type[Any]) -> bool:
    steps = "get_db_prep_save", "get_db_prep_value", "get_prep_value", "to_python"
    return all(getattr(type(field), step) is getattr(base, step) for step in steps)


def _short(whole: Adapter, field: Any, exact: type, shortcut: "_Shortcut | None") -> Adapter:
    def keep(value: Any, connection: Any) -> Any:
        if value is None or type(value) is exact:
            return value
        return whole(value, connection)

    def adapt(value: Any, connection: Any) -> Any:
        if value is None:
            return None
        if type(value) is exact:
            return shortcut(field, value, connection)  # type: ignore[misc]  # there is one here
        return whole(value, connection)

    return keep if shortcut is None else adapt


def _whole(field: "models.Field[Any, Any]", value: Any, connection: Any) -> Any:
    if hasattr(value, "resolve_expression") or hasattr(value, "prepare_database_save"):
        raise NeedsDjango
    prepared = field.get_db_prep_save(value, connection)
    if hasattr(prepared, "as_sql"):
        raise NeedsDjango
    return prepared


def _aware(field: "models.Field[Any, Any]", value: datetime, connection: Any) -> Any:
    return value if value.tzinfo is UTC else _whole(field, value, connection)


def _naive(field: "models.Field[Any, Any]", value: datetime, connection: Any) -> Any:
    if value.tzinfo is UTC and connection.timezone is UTC:
        return str(value.replace(tzinfo=None))
    return _whole(field, value, connection)


def _integer(field: "models.Field[Any, Any]", value: int, connection: Any) -> Any:
    return connection.ops.adapt_integerfield_value(value, field.get_internal_type())


def _digits(field: "models.Field[Any, Any]", value: UUID, connection: Any) -> str:
    return value.hex


_Shortcut = Callable[[Any, Any, Any], Any]
_Plain = tuple[type[Any], type, _Shortcut | None]
_ALIKE: tuple[_Plain, ...] = (
    (models.CharField, str, None),
    (models.TextField, str, None),
    (models.BooleanField, bool, None),
    (models.AutoField, int, None),
)
_SHORTCUTS: dict[str, tuple[_Plain, ...]] = {
    "sqlite": (
        *_ALIKE,
        (models.IntegerField, int, None),
        (models.UUIDField, UUID, _digits),
        (models.DateTimeField, datetime, _naive),
    ),
    "postgresql": (
        *_ALIKE,
        (models.IntegerField, int, _integer),
        (models.UUIDField, UUID, None),
        (models.DateTimeField, datetime, _aware),
    ),
}

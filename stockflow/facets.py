"""Facets declared on a stock field: how a lookup becomes a value in an event."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from stockflow.domain.cells import FacetValue
from stockflow.errors import InvalidDeclaration

_TEXT = ("CharField", "TextField", "SlugField")
_NUMBER = (
    "AutoField",
    "BigAutoField",
    "SmallAutoField",
    "IntegerField",
    "BigIntegerField",
    "SmallIntegerField",
    "PositiveIntegerField",
    "PositiveBigIntegerField",
    "PositiveSmallIntegerField",
)
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


@dataclass(frozen=True)
class Codec:
    """How one kind of column becomes a facet value, in Python and in SQL, and back."""

    to_json: Callable[[Any], FacetValue]
    from_json: Callable[[Any], Any]
    postgresql: str
    sqlite: str

    def sql(self, vendor: str, column: str) -> str:
        """Return the expression of JSON text for *column*."""
        return (self.postgresql if vendor == "postgresql" else self.sqlite).replace("{}", column)


def _same(value: Any) -> Any:
    return value


def _dashed(column: str) -> str:
    return " || '-' || ".join(f"substr({column}, {at}, {size})" for at, size in _UUID_PARTS)


_CODECS: dict[str, Codec] = {
    **dict.fromkeys(_TEXT, Codec(str.__str__, _same, "to_json({}::text)::text", "json_quote({})")),
    **dict.fromkeys(_NUMBER, Codec(int, _same, "{}::text", "CAST({} AS text)")),
    "BooleanField": Codec(
        bool,
        _same,
        "{}::text",
        "CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END",
    ),
    "UUIDField": Codec(
        str,
        UUID,
        """'"' || {}::text || '"'""",
        f"""'"' || {_dashed("{}")} || '"'""",
    ),
    "DateField": Codec(
        lambda v: v.isoformat(),
        date.fromisoformat,
        """'"' || to_char({}, 'YYYY-MM-DD') || '"'""",
        """'"' || {} || '"'""",
    ),
}


@dataclass(frozen=True)
class FacetPath:
    """One declared facet, resolved against a model.

    ``first`` is the model's own column: the facet itself, or the foreign key through which
    the facet is read. ``hops`` are the foreign keys to follow, ``leaf`` the last column.
    """

    lookup: str
    first: "models.Field[Any, Any]"
    hops: "tuple[models.ForeignKey[Any, Any], ...]"
    leaf: "models.Field[Any, Any]"
    codec: Codec

    @property
    def attname(self) -> str:
        """The attribute of the instance that the facet hangs on."""
        return self.first.attname

    @property
    def is_own(self) -> bool:
        """Whether the value is a column of the model itself."""
        return not self.hops

    def to_json(self, value: Any) -> FacetValue:
        """Return an instance's *value* of an own column as it is kept in events."""
        if value is None:
            return None
        return self.codec.to_json(self.first.to_python(value))

    def to_python(self, value: Any) -> Any:
        """Return a value kept in an event as the model's user knows it."""
        return None if value is None else self.codec.from_json(value)

    def sql(self, vendor: str, quote: Callable[[str], str]) -> str:
        """Return the expression of JSON text that follows the hops from one parameter."""
        tables = [
            f"{quote(hop.related_model._meta.db_table)} h{n}" for n, hop in enumerate(self.hops)
        ]
        joins = "".join(
            f" JOIN {table} ON h{n}.{quote(_column(_target(hop)))} = h{n - 1}.{quote(_column(hop))}"
            for n, (hop, table) in enumerate(zip(self.hops, tables, strict=True))
            if n
        )
        value = self.codec.sql(vendor, f"h{len(self.hops) - 1}.{quote(_column(self.leaf))}")
        key = f"h0.{quote(_column(_target(self.hops[0])))}"
        return f"COALESCE((SELECT {value} FROM {tables[0]}{joins} WHERE {key} = %s), 'null')"


def resolve_facet(model: type[models.Model], lookup: str) -> FacetPath:
    """Return the facet that *lookup* names on *model*.

    Raises:
        InvalidDeclaration: If it does not resolve to a column through forward foreign keys,
            or the column's kind cannot be a facet.
    """
    fields = []
    at: type[models.Model] = model
    for name in lookup.split("__"):
        try:
            field = at._meta.get_field(name)
        except FieldDoesNotExist:
            raise InvalidDeclaration(
                f"Facet {lookup!r} of {model._meta.label}: {at._meta.label} has no field {name!r} "
                f"(it has: {', '.join(f.name for f in at._meta.concrete_fields)})."
            ) from None
        if not isinstance(field, models.Field) or not field.concrete or field.many_to_many:
            raise InvalidDeclaration(
                f"Facet {lookup!r} of {model._meta.label}: {name!r} is no column of {at._meta.label}; "
                "a facet follows forward foreign keys to one column."
            )
        fields.append(field)
        at = field.related_model if isinstance(field, models.ForeignKey) else models.Model
        if at is models.Model and len(fields) < len(lookup.split("__")):
            raise InvalidDeclaration(
                f"Facet {lookup!r} of {model._meta.label}: {name!r} is no foreign key, "
                "so nothing can be read through it."
            )
    return FacetPath(
        lookup,
        fields[0],
        tuple(field for field in fields[:-1] if isinstance(field, models.ForeignKey)),
        fields[-1],
        _codec(model, lookup, fields[-1]),
    )


def _codec(model: type[models.Model], lookup: str, leaf: "models.Field[Any, Any]") -> Codec:
    while isinstance(leaf, models.ForeignKey):
        leaf = _target(leaf)
    codec = _CODECS.get(leaf.get_internal_type())
    if codec is None:
        raise InvalidDeclaration(
            f"Facet {lookup!r} of {model._meta.label}: a {leaf.get_internal_type()} cannot split a "
            "stock; use a column of text, whole numbers, true and false, dates, UUIDs or a foreign key."
        )
    return codec


def _column(field: "models.Field[Any, Any]") -> str:
    return str(field.column)


def _target(hop: "models.ForeignKey[Any, Any]") -> "models.Field[Any, Any]":
    field: models.Field[Any, Any] = hop.target_field
    return field

"""Facets declared on a stock field: how a lookup becomes a value in an event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from stockflow.domain.cells import FacetValue
from stockflow.errors import InvalidDeclaration

Fragment = tuple[str, tuple[Any, ...]]
"""An SQL expression and its parameters."""


def joined(fragments: "Sequence[Fragment]") -> Fragment:
    """Return several expressions as one list."""
    return ", ".join(sql for sql, _ in fragments), tuple(v for _, its in fragments for v in its)


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


def dashed(column: str) -> str:
    """Return the expression of a UUID kept as 32 digits in its usual spelling."""
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
        f"""'"' || {dashed("{}")} || '"'""",
    ),
    "DateField": Codec(
        lambda v: v.isoformat(),
        date.fromisoformat,
        """'"' || to_char({}, 'YYYY-MM-DD') || '"'""",
        """'"' || {} || '"'""",
    ),
}


class AtEntry(str):
    """A related facet that is read when a state is entered, and kept until the next is.

    What changes behind the relation meanwhile is no change of the object: a sale counts for
    the team that its owner had then.

    >>> AtEntry("owner__team")
    AtEntry('owner__team')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"AtEntry({str(self)!r})"


@dataclass(frozen=True, eq=False)  # each is made once, and is itself only
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

    @property
    def is_fixed(self) -> bool:
        """Whether it is kept as it was when the state was entered."""
        return isinstance(self.lookup, AtEntry)

    def kept_sql(self, vendor: str, facets: Fragment, otherwise: Fragment) -> Fragment:
        """Return the expression of the JSON text that *facets* have for it, if any."""
        if vendor == "postgresql":
            found = f"(({facets[0]})::json -> '{self.lookup}')::text"
        else:
            found = (
                "(SELECT CASE WHEN k.type IN ('true', 'false', 'null') THEN k.type "
                f"ELSE json_quote(k.value) END FROM json_each({facets[0]}) k "
                f"WHERE k.key = '{self.lookup}')"
            )
        return f"COALESCE({found}, {otherwise[0]})", (*facets[1], *otherwise[1])

    def to_json(self, value: Any) -> FacetValue:
        """Return an instance's *value* of an own column as it is kept in events."""
        if value is None:
            return None
        return self.codec.to_json(self.first.to_python(value))

    def to_python(self, value: Any) -> Any:
        """Return a value kept in an event as the model's user knows it."""
        return None if value is None else self.codec.from_json(value)

    def sql(self, vendor: str, quote: Callable[[str], str], start: str = "%s") -> str:
        """Return the expression of JSON text that follows the hops from *start*, or one parameter."""
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
        return f"COALESCE((SELECT {value} FROM {tables[0]}{joins} WHERE {key} = {start}), 'null')"


def resolve_facet(model: type[models.Model], lookup: str) -> FacetPath:
    """Return the facet that *lookup* names on *model*.

    Raises:
        InvalidDeclaration: If it does not resolve to a column through forward foreign keys,
            the column's kind cannot be a facet, or the model's own column is in the table of a
            parent that records nothing, or gets its value while it is saved.
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
    if isinstance(lookup, AtEntry) and len(fields) == 1:
        raise InvalidDeclaration(
            f"Facet {lookup!r} of {model._meta.label} is a column of the object itself, whose "
            "changes are always recorded: leave AtEntry off."
        )
    _refuse_unfenced(model, lookup, fields[0])
    _refuse_set_while_saving(model, lookup, fields[0])
    return FacetPath(
        lookup,
        fields[0],
        tuple(field for field in fields[:-1] if isinstance(field, models.ForeignKey)),
        fields[-1],
        _codec(model, lookup, fields[-1]),
    )


def _refuse_unfenced(
    model: type[models.Model], lookup: str, first: "models.Field[Any, Any]"
) -> None:
    if "stock_version" not in {field.name for field in first.model._meta.concrete_fields}:
        raise InvalidDeclaration(
            f"Facet {lookup!r} of {model._meta.label}: {first.name!r} is a column of "
            f"{first.model._meta.label}, which is no StockflowModel and may change it without an "
            "event; derive that from StockflowModel, or move the column."
        )


def _refuse_set_while_saving(
    model: type[models.Model], lookup: str, first: "models.Field[Any, Any]"
) -> None:
    """Refuse a column that is not yet in memory when its event is written."""
    plain = (models.Field.pre_save, models.DateField.pre_save)
    by = [name for name in ("auto_now", "auto_now_add") if getattr(first, name, False)]
    by += ["db_default"] if first.has_db_default() and not first.has_default() else []
    by += [] if type(first).pre_save in plain else [f"{type(first).__name__}.pre_save()"]
    if by:
        raise InvalidDeclaration(
            f"Facet {lookup!r} of {model._meta.label}: {by[0]} gives {first.name!r} its value while "
            "it is saved, which is too late to be recorded. Use default=, or set it before."
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

"""What saving needs to know of a model, worked out once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import connections, models

from stockflow.domain.decay import Attribute
from stockflow.facets import FacetPath
from stockflow.fields import StockField, facets_of, family
from stockflow.machines import machine_of

STOCK_COLUMNS = ("stock_lifecycle", "stock_version", "stock_changed_at")


@dataclass(frozen=True)
class Subject:
    """A model whose objects' membership is recorded.

    Attributes:
        model: The class asked about.
        table: The concrete class whose table has the lifecycle and the version.
        fields: The stock fields, in order of declaration.
        columns: All columns that only a save with events writes, by attribute.
        facet_columns: The columns that facets hang on, by attribute.
        has_one_field: Whether each object has one stock field only, children's included.
    """

    model: type[models.Model]
    table: type[models.Model]
    fields: tuple[StockField, ...]
    columns: "dict[str, models.Field[Any, Any]]"
    facet_columns: "dict[str, models.Field[Any, Any]]"
    has_one_field: bool

    @cached_property
    def owned(self) -> "dict[str, models.Field[Any, Any]]":
        """The columns that a save writes only where it has a reason to, by attribute."""
        return {**self.facet_columns, **self.columns}

    @cached_property
    def delay_columns(self) -> frozenset[str]:
        """The attributes that say how long a state lasts."""
        rules = [r for f in self.fields for r in machine_of(self.model, f.name).rules]
        names = {rule.delay.name for rule in rules if isinstance(rule.delay, Attribute)}
        return frozenset(names)

    def facets(self, name: str) -> dict[str, FacetPath]:
        """The declared facets of field *name*, by lookup."""
        return facets_of(self.model, name)


_subjects: dict[type[models.Model], Subject] = {}


def subject_of(model: type[models.Model]) -> Subject:
    """Return what saving needs to know of *model*."""
    known = _subjects.get(model)
    if known is None:
        known = _subjects[model] = _build(model)
    return known


def stock_fields(model: type[models.Model]) -> tuple[StockField, ...]:
    """Return the stock fields of *model*, in order of declaration."""
    return tuple(f for f in model._meta.concrete_fields if isinstance(f, StockField))


def _build(model: type[models.Model]) -> Subject:
    meta, fields = model._meta, stock_fields(model)
    names = [n for f in fields for n in (f.name, f.since_name, f.due_name)]
    table: Any = meta.get_field("stock_version").model
    facets = [path for f in fields for path in facets_of(model, f.name).values()]
    relatives = family(table._meta.concrete_model)
    return Subject(
        model=model,
        table=table,
        fields=fields,
        columns={name: meta.get_field(name) for name in (*STOCK_COLUMNS, *names)},  # type: ignore[misc]
        facet_columns={path.attname: path.first for path in facets},
        has_one_field=len({f.name for m in relatives for f in stock_fields(m)}) == 1,
    )


def locked_rows(
    model: type[models.Model], using: str, *, skip_locked: bool = False
) -> "models.QuerySet[Any]":
    """Return all rows of *model*, to be locked as a save locks them.

    All: a base manager may hide some.
    With *skip_locked* those that somebody else has locked are left out.

    That is in the table that has the version: a child's own table locked first would
    deadlock with a save, which begins at the parent's.
    """
    rows: models.QuerySet[Any] = models.QuerySet(model, using=using)
    if not connections[using].features.has_select_for_no_key_update:
        return rows
    path = model._meta.get_path_to_parent(subject_of(model).table)
    of = "__".join(step.join_field.name for step in path) or "self"
    return rows.select_for_update(no_key=True, of=(of,), skip_locked=skip_locked)

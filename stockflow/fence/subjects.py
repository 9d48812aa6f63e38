"""What is fenced: the tables of subjects, and of each the columns that the log speaks of."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import connections, models, router

from stockflow.facets import FacetPath
from stockflow.fields import StockField, facets_of, family
from stockflow.subjects import stock_fields, subject_of
from stockflow.tables import Event


@dataclass(frozen=True)
class Fenced:
    """One table of a subject: the root's, with lifecycle and version, or a child's.

    Attributes:
        model: The concrete model of the table.
        root: The concrete model whose table has the lifecycle and the version.
    """

    model: type[models.Model]
    root: type[models.Model]

    def __str__(self) -> str:
        return self.model._meta.label

    @property
    def table(self) -> str:
        """The table's name."""
        return self.model._meta.db_table

    @property
    def is_root(self) -> bool:
        """Whether the lifecycle and the version are in this table."""
        return self.model is self.root

    @property
    def key(self) -> str:
        """The column that names the object: the key, or a child's link to its parent."""
        links = {link for link in self.model._meta.parents.values() if link is not None}
        link = next((link for link in links if link.model is self.model), None)
        return str((self.model._meta.pk if self.is_root or link is None else link).column)

    @cached_property
    def fields(self) -> tuple[StockField, ...]:
        """The stock fields whose state is in this table."""
        return tuple(f for f in stock_fields(self.model) if f.model is self.model)

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """The stock fields of all objects that may have a row in this table."""
        names = [f.name for model in self._family for f in stock_fields(model)]
        return tuple(dict.fromkeys(names))

    @cached_property
    def facets(self) -> dict[str, tuple[FacetPath, ...]]:
        """The facets that hang on columns of this table, by stock field, a child's included."""
        found: dict[str, dict[str, FacetPath]] = {}
        for model in self._family:
            for field in stock_fields(model):
                for lookup, path in facets_of(model, field.name).items():
                    if path.first.model is self.model:
                        found.setdefault(field.name, {})[lookup] = path
        return {name: tuple(paths.values()) for name, paths in found.items()}

    @cached_property
    def _family(self) -> list[type[models.Model]]:
        return sorted(family(self.model), key=lambda model: model._meta.label)

    def own(self, name: str) -> tuple[FacetPath, ...]:
        """The facets of field *name* whose value is a column of this table."""
        return tuple(path for path in self.facets.get(name, ()) if path.is_own)

    def related(self, name: str) -> tuple[FacetPath, ...]:
        """The facets of field *name* that are read through a foreign key of this table."""
        return tuple(path for path in self.facets.get(name, ()) if not path.is_own)

    @cached_property
    def collated(self) -> frozenset[str]:
        """The columns with a collation of their own, for which different texts may be equal."""
        local = self.model._meta.local_concrete_fields
        return frozenset(str(field.column) for field in local if _has_collation(field))

    @property
    def states(self) -> tuple[str, ...]:
        """The columns of the states."""
        return tuple(str(field.column) for field in self.fields)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that only a save with events may change, the key first."""
        own = ("stock_lifecycle", "stock_version") if self.is_root else ()
        facets = [str(path.first.column) for paths in self.facets.values() for path in paths]
        return tuple(dict.fromkeys((self.key, *own, *map(str, self.states), *facets)))


def _has_collation(field: Any) -> bool:
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return bool(getattr(field, "db_collation", None))


def fenced_tables(using: str) -> list[Fenced]:
    """Return the tables of subjects that the database *using* has, parents before children."""
    connection = connections[using]
    if connection.vendor not in ("postgresql", "sqlite"):
        return []
    present = set(connection.introspection.table_names())
    if Event._meta.db_table not in present:
        return []
    wanted = [fenced for fenced in _declared() if router.allow_migrate_model(using, fenced.model)]
    # In the middle of migrations a parent's table may have another name than its model says.
    return [one for one in wanted if {one.table, one.root._meta.db_table} <= present]


def _declared() -> Iterator[Fenced]:
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    subjects: list[Any] = [m for m in apps.get_models() if issubclass(m, StockflowModel)]
    for model in sorted(subjects, key=lambda model: (len(model.__mro__), model._meta.label)):
        meta = model._meta
        if meta.proxy or meta.swapped or not meta.managed or not subject_of(model).fields:
            continue
        fenced = Fenced(model, subject_of(model).table)
        if fenced.is_root or fenced.fields or fenced.facets:
            yield fenced

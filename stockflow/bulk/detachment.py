"""What becomes of a facet whose related row is deleted: the objects are reclassified before."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.signals import pre_delete

from stockflow.bulk import chunks
from stockflow.bulk.methods import Loaded, write
from stockflow.bulk.transitions import CHUNK
from stockflow.errors import ConcurrentTransition
from stockflow.fields import facets_of, tables_of
from stockflow.subjects import stock_fields, subject_of
from stockflow.tables import STOCKFLOW, Event, Kind

_KEPT: tuple[Any, ...] = tuple(
    getattr(models, name)
    for name in (
        *("CASCADE", "PROTECT", "RESTRICT", "DO_NOTHING"),
        *("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT"),  # Django 6.1
    )
    if hasattr(models, name)
)
"""What leaves no row with another value behind, or leaves it to the database."""


class Update:
    """Stands in for Django's collector, to learn what ``on_delete`` would set a column to."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add_field_update(self, field: Any, value: Any, objs: Any) -> None:
        """Take the value, and update nothing."""
        self.values.append(value)


def connect() -> None:
    """Listen to the deletion of each model that a facet's relation lets go of."""
    for target in {_target(column) for column in _columns()}:
        for sender in apps.get_models():
            if sender._meta.concrete_model is target:
                pre_delete.connect(detach, sender=sender, dispatch_uid="stockflow.detach")


def detach(sender: type[models.Model], instance: Any, using: str, **kwargs: Any) -> None:
    """Record that the objects related to *instance* lose that relation, in its deletion's transaction.

    Django's own update comes later and finds nothing left to do.
    """
    for column in _columns():
        if _target(column) is sender._meta.concrete_model:
            _detach(column, instance, using)


def keys_of(model: type[models.Model]) -> set[str]:
    """Return the foreign keys of *model* that facets hang on and a deletion gives another value."""
    return {column.name for column in _columns() if issubclass(model, column.model)}


def _columns() -> "list[models.ForeignKey[Any, Any]]":
    """Return the foreign keys that facets hang on and that a deletion gives another value."""
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    columns = {
        path.first: None
        for model in apps.get_models()
        if issubclass(model, StockflowModel)
        for field in stock_fields(model)
        for path in facets_of(model, field.name).values()
    }
    return [
        column
        for column in columns
        if isinstance(column, models.ForeignKey) and column.remote_field.on_delete not in _KEPT
    ]


def _target(column: Any) -> Any:
    return column.remote_field.model._meta.concrete_model


def _detach(column: Any, instance: Any, using: str) -> None:
    update, wanted = Update(), {column.name: getattr(instance, column.target_field.attname)}
    column.remote_field.on_delete(update, column, (), using)
    for value in update.values:
        rows: models.QuerySet[Any] = column.model._base_manager.using(using).filter(**wanted)
        for keys in chunks.pages(rows, CHUNK):
            # What is found was committed with its children's rows, so none is taken for less.
            left = keys
            for model in tables_of(column.model):
                done = _reclassify(rows, model, left, column, value)
                left = [key for key in left if key not in done]


def _reclassify(
    queryset: "models.QuerySet[Any]",
    model: type[models.Model],
    keys: Sequence[Any],
    column: Any,
    value: Any,
) -> set[Any]:
    """Reclassify those of *keys* that are objects of *model*; return which are."""
    using, name = queryset.db, chunks.key_name(model)
    locked = {getattr(row, name): row for row in chunks.lock(model, using, keys)}
    ours = chunks.matching(queryset, [*locked])
    rows = [row for key, row in locked.items() if key in ours]
    closed, loaded = _closed(model, using, rows), []
    for row in rows:
        one = Loaded(row)
        setattr(row, column.name if isinstance(value, models.Model) else column.attname, value)
        if row.stock_lifecycle in closed:
            _let_go(column, row, closed[row.stock_lifecycle], using)
        else:
            loaded.append(one)
    if write(model, loaded, using):
        raise ConcurrentTransition(
            f"Another writer changed a {model._meta.label} whose {column.name} is being deleted, so "
            "nothing was deleted. Repeat it."
        )
    return {*locked}


def _closed(model: type[models.Model], using: str, rows: Sequence[Any]) -> dict[Any, int]:
    """Return the last versions of those that the same deletion takes, and that left already."""
    originators = {str(row.stock_lifecycle): row.stock_lifecycle for row in rows}
    events = Event.objects.using(using).filter(
        application=STOCKFLOW, originator__in=originators, kind=Kind.LEFT
    )
    left: dict[Any, dict[str, int]] = {}
    for originator, field, version in events.values_list("originator", "field", "version"):
        left.setdefault(originators[originator], {})[str(field)] = version
    names = {field.name for field in subject_of(model).fields}
    return {one: max(found.values()) for one, found in left.items() if names <= found.keys()}


def _let_go(column: Any, row: Any, version: int, using: str) -> None:
    """Give the row of a closed log, which goes next, its value: nothing is left to record."""
    for table, values in (
        (subject_of(type(row)).table, {"stock_version": version}),
        (column.model, {column.name: getattr(row, column.attname)}),
    ):
        rows: models.QuerySet[Any] = models.QuerySet(table, using=using)
        rows.filter(stock_lifecycle=row.stock_lifecycle).update(**values)

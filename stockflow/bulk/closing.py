"""Closing events of many objects that are about to be deleted."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import connections, models

from stockflow.bulk import chunks, writing
from stockflow.bulk.methods import Loaded, write
from stockflow.bulk.transitions import CHUNK
from stockflow.contexts import Circumstances
from stockflow.errors import ConcurrentTransition
from stockflow.fields import family
from stockflow.ledgers import Pending
from stockflow.moments import moment
from stockflow.settling import settle
from stockflow.subjects import Subject, subject_of
from stockflow.tables import Kind


def close(queryset: "models.QuerySet[Any]") -> list[Any]:
    """Append the closing events of the objects of *queryset*; return their lifecycles.

    Those with rows in several tables are left to the signals of each table, and so are those that
    a window finds, and what else a deletion takes with it.
    """
    model, query = queryset.model, queryset.query
    has_parents = any(model._meta.parents.values())
    is_cut = query.is_sliced or query.combinator or query.distinct
    if has_parents or is_cut or chunks.filters_by_window(queryset):
        return []
    pages = chunks.pages(queryset, CHUNK)
    return [lifecycle for keys in pages for lifecycle in _close(queryset, keys)]


def _close(queryset: "models.QuerySet[Any]", keys: Sequence[Any]) -> list[Any]:
    model, using = queryset.model, queryset.db
    rows = list(chunks.lock(model, using, keys))
    ours, name = chunks.matching(queryset, keys), chunks.key_name(model)
    ours -= _of_children(model, using, keys)
    rows = [row for row in rows if row.stock_lifecycle and getattr(row, name) in ours]
    moments = {}
    for one in map(Loaded, rows):
        at, told = moment(one.row)
        if settle(one.row, at):
            write(model, [one], using)
            one.row.refresh_from_db(using)
        moments[one.row.stock_lifecycle] = max(at, one.row.stock_changed_at or at), told
    subject, connection = subject_of(model), connections[using]
    stored = chunks.prepared(subject, using, [row.pk for row in rows])
    last = chunks.last_events(connection, subject, stored)
    appended = []
    for key, row in zip(stored, rows, strict=True):
        version, events = last[key]
        leaving = list(_leaving(subject, events, *moments[row.stock_lifecycle]))
        label, text = row._meta.label_lower, str(row.pk)
        appended.append(
            writing.Appended(row.stock_lifecycle, version, leaving, events, label, text)
        )
    writing.append(connection, subject, appended)
    _end_timers(model, using, [one.lifecycle for one in appended])
    return [one.lifecycle for one in appended]


def _of_children(model: type[models.Model], using: str, keys: Sequence[Any]) -> set[Any]:
    """Return which of *keys* are objects of a child with a table, whose fields leave with that."""
    own: Any = model._meta.concrete_model
    found, name = set[Any](), chunks.key_name(model)
    for child in {m._meta.concrete_model for m in family(own)} - {own}:
        rows: models.QuerySet[Any] = models.QuerySet(child, using=using)
        found.update(rows.filter(**{f"{name}__in": keys}).values_list(name, flat=True))
    return found


def _leaving(
    subject: Subject, last: dict[str, chunks.Last], at: Any, told: Circumstances
) -> Iterator[Pending]:
    for field in subject.fields:
        state = last[field.name].target if field.name in last else None
        if state is not None:
            yield Pending(field.name, Kind.LEFT, None, state, None, at, {}, told)


def refuse_survivors(model: type[models.Model], using: str, closed: Sequence[Any]) -> None:
    """Refuse to have closed what was not deleted after all: what the queryset asks of may move.

    Raises:
        ConcurrentTransition: If one of the lifecycles *closed* still has its row.
    """
    rest = iter(closed)
    while some := list(islice(rest, CHUNK)):
        rows: models.QuerySet[Any] = models.QuerySet(model, using=using)
        if rows.filter(stock_lifecycle__in=some).exists():
            raise ConcurrentTransition(
                f"Another writer changed what this deletion of {model._meta.label} asks for, so "
                "nothing was deleted. Repeat it."
            )


def _end_timers(model: type[models.Model], using: str, lifecycles: Sequence[Any]) -> None:
    writing.end_timers(using, [writing.lifecycle_value(model, using, one) for one in lifecycles])

"""Cutting a queryset into chunks of keys, locking their rows, and reading what the log says last."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connections, models

from stockflow.facets import Fragment, dashed
from stockflow.rows import among
from stockflow.subjects import Subject, locked_rows, subject_of
from stockflow.tables import STOCKFLOW


class Last(NamedTuple):
    """The last event of one field of one object."""

    version: int
    model: str
    kind: str
    target: str | None
    facets: str | None


def refuse_shape(queryset: "models.QuerySet[Any]", operation: str) -> None:
    """Refuse a queryset whose rows are not one object each.

    Raises:
        TypeError: If it is sliced, distinct, combined, filtered by a window, or gives values.
    """
    query: Any = queryset.query
    shapes = {
        "a slice of a queryset": query.is_sliced,
        "values() or values_list()": getattr(queryset, "_fields", None) is not None,
        "distinct()": query.distinct,
        "union() and its like": query.combinator,
        "a filter by a window": filters_by_window(queryset),
    }
    for shape, is_so in shapes.items():
        if is_so:
            raise TypeError(
                f"{queryset.model._meta.label}: {operation} cannot follow {shape}: filter on keys "
                "instead, such as filter(pk__in=[...])."
            )


def size_of(asked: Any, default: int) -> int:
    """Return how many objects a chunk has.

    Raises:
        ValueError: If that is no number above 0.
    """
    if asked is None:
        return default
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise ValueError(f"chunk_size is {asked!r}: it is how many objects one transaction takes.")
    return asked


def filters_by_window(queryset: "models.QuerySet[Any]") -> bool:
    """Whether a filter on keys would change what else the queryset finds.

    Django puts it inside the query that the window looks at.
    """
    return bool(queryset.query.where.contains_over_clause)


def key_name(model: type[models.Model]) -> str:
    """Return the attribute of *model* that is the primary key of the table with the versions."""
    return subject_of(model).table._meta.pk.attname


def pages(queryset: "models.QuerySet[Any]", size: int) -> Iterator[list[Any]]:
    """Yield the keys of *queryset* in ascending order, each page read when it is asked for.

    What is created meanwhile with a higher key is left alone, so that it comes to an end.
    """
    key = key_name(queryset.model)
    rows = queryset.select_related(None).order_by(key).values_list(key, flat=True)
    end = rows.order_by(f"-{key}").first()
    if end is None:
        return
    page = rows = rows.filter(**{f"{key}__lte": end})
    while keys := list(dict.fromkeys(page[:size])):
        yield keys
        page = rows.filter(**{f"{key}__gt": keys[-1]})


def lock(model: type[models.Model], using: str, keys: Sequence[Any]) -> "models.QuerySet[Any]":
    """Return the objects of *keys* in their order, to be locked when they are read."""
    key = key_name(model)
    return locked_rows(model, using).filter(**{f"{key}__in": keys}).order_by(key)


def matching(queryset: "models.QuerySet[Any]", keys: Sequence[Any]) -> set[Any]:
    """Return which of the locked *keys* still belong to *queryset*.

    Another writer may have changed them between the reading of the keys and the lock.
    """
    if not queryset.query.where or not connections[queryset.db].features.has_select_for_update:
        return set(keys)
    key = key_name(queryset.model)
    rows = queryset.select_related(None).order_by().filter(**{f"{key}__in": keys})
    return set(rows.values_list(key, flat=True))


def prepared(subject: Subject, using: str, keys: Sequence[Any]) -> list[Any]:
    """Return *keys* as the database keeps them."""
    pk, connection = subject.table._meta.pk, connections[using]
    return [pk.get_db_prep_value(key, connection, prepared=False) for key in keys]


def last_events(
    connection: Any, subject: Subject, keys: Sequence[Any]
) -> dict[Any, tuple[int, dict[str, Last]]]:
    """Return the version of each row of *keys*, and the last event of each of its fields."""
    quote, table = connection.ops.quote_name, subject.table._meta
    test = among(connection, f"r.{quote(table.pk.column)}", keys)
    found: dict[Any, tuple[int, dict[str, Last]]] = {}
    for field in subject.fields:
        join, values = last_join(connection, subject, field.name)
        sql = (
            f"SELECT r.{quote(table.pk.column)}, r.stock_version, l.version, l.model, l.kind, "
            f"l.target, l.target_facets FROM {quote(table.db_table)} r{join} WHERE {test[0]}"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [*values, *test[1]])
            for key, version, *last in cursor.fetchall():
                known = found.setdefault(key, (version, dict[str, Last]()))[1]
                if last[0] is not None:
                    known[field.name] = Last(*last)
    return found


def last_join(connection: Any, subject: Subject, field: str) -> Fragment:
    """Return the join of each row ``r`` to the last event ``l`` of *field*."""
    originator, values = originator_of(connection), (field,)
    if connection.vendor == "postgresql":
        # With its LIMIT it stays a look-up by index for each row, whatever the statistics say.
        last = (
            "SELECT e.version, e.model, e.kind, e.target, e.target_facets FROM stockflow_event e "
            f"WHERE e.application = '{STOCKFLOW}' AND e.originator = {originator} AND e.field = %s "
            "ORDER BY e.version DESC LIMIT 1"
        )
        return f" LEFT JOIN LATERAL ({last}) l ON true", values
    version = "r.stock_version"
    if not subject.has_one_field:
        version = (
            f"(SELECT max(e.version) FROM stockflow_event e WHERE e.application = '{STOCKFLOW}' "
            f"AND e.originator = {originator} AND e.field = %s)"
        )
    join = (
        f" LEFT JOIN stockflow_event l ON (l.application = '{STOCKFLOW}' "
        f"AND l.originator = {originator} AND l.version = {version})"
    )
    return join, () if subject.has_one_field else values


def originator_of(connection: Any) -> str:
    """Return the expression of the lifecycle of row ``r`` as the log spells it."""
    if connection.vendor == "postgresql":
        return "r.stock_lifecycle::text"
    return f"({dashed('r.stock_lifecycle')})"

"""Comparing rows with their last events: what ``migrate`` and ``reconcile`` ask."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import connections, models, transaction

from stockflow.domain.cells import decode_facets
from stockflow.fence.sql import dialect_of, disagreement
from stockflow.fence.subjects import Fenced, fenced_tables
from stockflow.fields import family, tables_of
from stockflow.subjects import subject_of
from stockflow.tables import STOCKFLOW, Event

CHUNK = 500


@dataclass(frozen=True)
class Difference:
    """One way in which a row and its log disagree.

    Attributes:
        model: The label of the object's model.
        key: Its primary key; empty where the row is gone.
        lifecycle: Its stream.
        field: The stock field; empty where only the version differs.
        row: What the row says.
        log: What the last event says.
    """

    model: str
    key: str
    lifecycle: str
    field: str
    row: str
    log: str

    def __str__(self) -> str:
        name = f"{self.model} {self.key or self.lifecycle}"
        return f"{name}, {self.field or 'version'}: the row says {self.row}, the log {self.log}"


def first(using: str, number: int, apps: Collection[str] | None = None) -> list[Difference]:
    """Return the first differences in the database *using*, of the *apps* or of all."""
    tables = [t for t in fenced_tables(using) if apps is None or t.model._meta.app_label in apps]
    return list(islice(differences(using, tables), number))


def differences(using: str, tables: Collection[Fenced]) -> Iterator[Difference]:
    """Yield all differences of the *tables*, in chunks of keys: rows first, then open streams."""
    for fenced in tables:
        for keys in chunks_of_keys(using, fenced):
            for key in keys:
                yield from _of_row(using, fenced, key)
    for fenced in tables:
        for streams in chunks_of_streams(using, fenced):
            yield from (of_stream(*stream) for stream in streams)


def _of_row(using: str, fenced: Fenced, key: Any) -> list[Difference]:
    """Return how the row of *key* differs, locked: what is written meanwhile is no difference."""
    with transaction.atomic(using=using):
        row = whole(using, fenced, key, lock=True)
        return [] if row is None else explain(row, using)


def chunks_of_keys(using: str, fenced: Fenced) -> Iterator[list[Any]]:
    """Yield the keys of rows that disagree with their log, in order."""
    dialect, root = dialect_of(using), fenced.root._meta
    key = f"c.{dialect.quote(fenced.key)}"
    rows, alias = f"{dialect.quote(fenced.table)} c", "c"
    if not fenced.is_root:
        alias = "r"
        rows += (
            f" JOIN {dialect.quote(root.db_table)} r ON r.{dialect.quote(root.pk.column)} = {key}"
        )
    where = f"{alias}.stock_lifecycle IS NOT NULL AND ({disagreement(dialect, fenced, 'c', alias)})"
    yield from _chunks(using, f"SELECT {key} FROM {rows} WHERE {where}", key, 0)


def chunks_of_streams(using: str, fenced: Fenced) -> Iterator[list[Any]]:
    """Yield the last events of open streams whose row is gone: id, model, originator, field, state."""
    names = ", ".join(f"'{field.name}'" for field in fenced.fields)
    if not names:
        return
    dialect, root = dialect_of(using), fenced.root._meta
    rows, own = f"{dialect.quote(fenced.table)} c", "c"
    if not fenced.is_root:
        key = dialect.quote(root.pk.column)
        rows += f" JOIN {dialect.quote(root.db_table)} r ON r.{key} = c.{dialect.quote(fenced.key)}"
        own = "r"
    lifecycle = {"postgresql": "e.originator::uuid"}.get(
        dialect.vendor, "replace(e.originator, '-', '')"
    )
    labels = ", ".join(f"'{model._meta.label_lower}'" for model in family(fenced.model))
    later = (
        "FROM stockflow_event l WHERE l.application = e.application "
        "AND l.originator = e.originator AND l.field = e.field"
    )
    join, is_last = "", f"NOT EXISTS (SELECT 1 {later} AND l.version > e.version)"
    if dialect.vendor == "postgresql":
        # With its LIMIT it stays a look-up by index, also in a log without statistics.
        join = f" CROSS JOIN LATERAL (SELECT l.version {later} ORDER BY l.version DESC LIMIT 1) l"
        is_last = "l.version = e.version"
    sql = (
        f"SELECT e.id, e.model, e.originator, e.field, e.target FROM stockflow_event e{join} "
        f"WHERE e.application = '{STOCKFLOW}' AND e.model IN ({labels}) AND e.field IN ({names}) "
        f"AND e.target IS NOT NULL AND {is_last} "
        f"AND NOT EXISTS (SELECT 1 FROM {rows} WHERE {own}.stock_lifecycle = {lifecycle})"
    )
    yield from _chunks(using, sql, "e.id", slice(None))


def _chunks(using: str, sql: str, key: str, chosen: int | slice) -> Iterator[list[Any]]:
    """Yield what *sql* selects in chunks, each beginning after the last one's key."""
    last: Any = None
    while True:
        after, values = ("", []) if last is None else (f" AND {key} > %s", [last])
        with connections[using].cursor() as cursor:
            cursor.execute(f"{sql}{after} ORDER BY {key} LIMIT {CHUNK}", values or None)
            rows = cursor.fetchall()
        if not rows:
            return
        yield [row[chosen] for row in rows]
        last = rows[-1][0]


def whole(using: str, fenced: Fenced, key: Any, *, lock: bool = False) -> Any:
    """Return the object of *key* as its most derived model has it; None if it is gone.

    Not by the base manager, which may hide rows: the log speaks of these too.
    """
    for model in tables_of(fenced.model):
        rows: models.QuerySet[Any] = models.QuerySet(model, using=using).filter(pk=key)
        if lock and connections[using].features.has_select_for_no_key_update:
            rows = rows.select_for_update(no_key=True)
        if (row := rows.first()) is not None:
            return row
    return None


def last_events(lifecycle: Any, using: str) -> dict[str, Event]:
    """Return the last event of each field of a lifecycle."""
    events = Event.objects.using(using).filter(application=STOCKFLOW, originator=str(lifecycle))
    return {str(event.field): event for event in events.order_by("version").iterator(CHUNK)}


def explain(row: Any, using: str) -> list[Difference]:
    """Return how *row* differs from the last events of its fields."""
    last = last_events(row.stock_lifecycle, using)
    found = [
        _difference(row, name, _said(row, name), _recorded(row, last, name))
        for name in unlike(row, last)
    ]
    version = max((event.version for event in last.values()), default=0)
    if not found and version != row.stock_version:
        found = [_difference(row, "", f"version {row.stock_version}", f"version {version}")]
    return found


def unlike(row: Any, last: dict[str, Event]) -> list[str]:
    """Return the fields whose state or own facets in *row* are not those of their last event."""
    return [
        field.name
        for field in subject_of(type(row)).fields
        if field.name not in last
        or last[field.name].target != getattr(row, field.name)
        or any(
            decode_facets(last[field.name].target_facets).get(lookup, value) != value
            for lookup, value in _own_facets(row, field.name).items()
        )
    ]


def _own_facets(row: Any, name: str) -> dict[str, Any]:
    paths = subject_of(type(row)).facets(name).items()
    return {
        lookup: path.to_json(getattr(row, path.attname)) for lookup, path in paths if path.is_own
    }


def _said(row: Any, name: str) -> str:
    return _cell(getattr(row, name), _own_facets(row, name))


def _recorded(row: Any, last: dict[str, Event], name: str) -> str:
    if name not in last:
        return "nothing"
    if last[name].target is None:
        return "that it left"
    facets, own = decode_facets(last[name].target_facets), _own_facets(row, name)
    return _cell(last[name].target, {k: v for k, v in facets.items() if k in own})


def _cell(state: str | None, facets: dict[str, Any]) -> str:
    told = ", ".join(f"{lookup}={value!r}" for lookup, value in sorted(facets.items()))
    return f"{state!r} ({told})" if told else repr(state)


def _difference(row: Any, field: str, said: str, recorded: str) -> Difference:
    label, lifecycle = row._meta.label, str(row.stock_lifecycle)
    return Difference(label, str(row.pk), lifecycle, field, said, recorded)


def of_stream(_id: int, model: str, originator: str, field: str, state: str) -> Difference:
    """Return the difference of an open stream whose row is gone."""
    return Difference(model, "", originator, field, "nothing: it is gone", repr(state))

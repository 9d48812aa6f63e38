"""Appending the events of one save, in one statement."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connections

from stockflow.contexts import Circumstances
from stockflow.domain.cells import encode_facets, encode_value
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.ledgers import Pending
from stockflow.subjects import Subject
from stockflow.tables import STOCKFLOW

_COLUMNS = (
    "application, originator, version, topic, model, field, kind, transition, source, target, "
    "source_facets, target_facets, occurred_at, recorded_at, actor, reason, correlation, payload"
)
# The position of an event is not known to its writer, so nothing is returned.
_INSERT = f"INSERT INTO stockflow_event ({_COLUMNS}) "

Fragment = tuple[str, tuple[Any, ...]]
"""An SQL expression and its parameters."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which row the events belong to, and what it must still hold."""

    pk: Any
    lifecycle: Any
    version: int
    states: Mapping[str, str]
    """The state that each touched field must still have."""
    is_adopted: bool = True
    changed_at: datetime | None = None
    """When the row was changed, where that may be rolled back: another may have its version."""


def append_opening(
    cursor: Any, subject: Subject, originator: str, events: Sequence[Pending]
) -> None:
    """Append the first events of an object whose row does not exist yet."""
    arms = _arms(cursor.db, subject, originator, 0, events, following=False)
    sql = _INSERT + " UNION ALL ".join(f"SELECT {arm}" for arm, _ in arms)
    cursor.execute(sql, [value for _, values in arms for value in values])


def append_following(
    cursor: Any, subject: Subject, originator: str, key: Key, events: Sequence[Pending]
) -> bool:
    """Append events to a row that is locked and checked by the same statement.

    Returns:
        False, and nothing is written, if the row is not as *key* says.
    """
    arms = _arms(cursor.db, subject, originator, key.version, events, following=key.is_adopted)
    last, last_values = "", []
    if key.is_adopted:
        last = (
            f" LEFT JOIN stockflow_event l ON (l.application = '{STOCKFLOW}'"
            " AND l.originator = %s AND l.version = %s)"
        )
        last_values = [originator, key.version]
    row, values = _locked_row(cursor.db, subject, key)
    for _, arm_values in arms:
        values += [*arm_values, *last_values]
    # WITH after INSERT: before it, Python's sqlite3 would not count the rows.
    sql = f"{_INSERT}WITH s AS ({row}) " + " UNION ALL ".join(
        f"SELECT {arm} FROM s{last}" for arm, _ in arms
    )
    cursor.execute(sql, values)
    return bool(cursor.rowcount == len(events))


def _locked_row(connection: Any, subject: Subject, key: Key) -> tuple[str, list[Any]]:
    """Return the query of the subject's row; empty if it is not as *key* says."""
    table, columns = subject.table, subject.columns
    states = tuple(name for name in key.states if columns[name].model is table)
    values = [_value(connection, table._meta.pk, key.pk)]
    if key.is_adopted:
        values.append(_value(connection, columns["stock_lifecycle"], key.lifecycle))
    values.append(key.version)
    if key.changed_at is not None:
        values.append(_value(connection, columns["stock_changed_at"], key.changed_at))
    values += [key.states[name] for name in states]
    is_dated = key.changed_at is not None
    return _row_text(connection.alias, table, key.is_adopted, is_dated, states), values


@lru_cache(maxsize=1024)
def _row_text(
    using: str, table: Any, is_adopted: bool, is_dated: bool, states: tuple[str, ...]
) -> str:
    """Return the text of :func:`_locked_row`'s query.

    The lock comes before the events: a writer that inserted first and locked at its UPDATE
    would deadlock with one that came between.
    """
    connection, meta = connections[using], table._meta
    quote = connection.ops.quote_name
    tests = [f"r.{quote(meta.pk.column)} = %s"]
    tests.append(f"r.stock_lifecycle {'= %s' if is_adopted else 'IS NULL'}")
    tests.append("r.stock_version = %s")
    tests += ["r.stock_changed_at = %s"] * is_dated
    tests += [f"r.{quote(meta.get_field(name).column)} = %s" for name in states]
    lock = " FOR NO KEY UPDATE" if connection.vendor == "postgresql" else ""
    return f"SELECT 1 FROM {quote(meta.db_table)} r WHERE {' AND '.join(tests)}{lock}"


def _arms(
    connection: Any,
    subject: Subject,
    originator: str,
    base: int,
    events: Sequence[Pending],
    *,
    following: bool,
) -> list[Fragment]:
    """Return one list of values per event, versions rising from *base*."""
    arms, cells = [], dict[str, Fragment]()
    for version, event in enumerate(events, base + 1):
        target = _facets(connection, subject, event) if event.target is not None else ("NULL", ())
        source: Fragment = ("NULL", ())
        if event.source is not None:
            source = cells.get(event.field) or _last_facets(subject, originator, event.field)
        cells[event.field] = target
        arms.append(
            _arm(connection, subject, originator, version, event, source, target, following)
        )
    return arms


def _arm(
    connection: Any,
    subject: Subject,
    originator: str,
    version: int,
    event: Pending,
    source: Fragment,
    target: Fragment,
    following: bool,
) -> Fragment:
    told = event.circumstances
    clock, clock_values = clock_of(connection)
    payload, payload_values = payload_of(connection, told)
    said, said_values = _said(told)
    label = f"'{subject.model._meta.label_lower}'"
    model = f"COALESCE(l.model, {label})" if following else label
    # What the declarations fix stands in the text: each parameter costs more than its writing.
    sql = (
        f"'{STOCKFLOW}', %s, %s, '{TOPICS[event.kind]}', {model}, '{event.field}', "
        f"'{event.kind.value}', %s, %s, %s, {source[0]}, {target[0]}, "
        f"%s, {clock}, {said}, {payload}"
    )
    return sql, (
        originator,
        version,
        event.transition,
        event.source,
        event.target,
        *source[1],
        *target[1],
        to_micros(event.occurred_at),
        *clock_values,
        *said_values,
        *payload_values,
    )


def _said(told: Circumstances) -> Fragment:
    """Return who and why, which most often is nothing."""
    values = told.actor, told.reason, told.correlation
    return ("%s, %s, %s", values) if any(values) else ("'', '', ''", ())


def clock_of(connection: Any) -> Fragment:
    """Return the database's clock as an expression: microseconds since 1970."""
    if connection.vendor == "postgresql":
        return "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", ()
    return "%s", (time.time_ns() // 1000,)  # an embedded database has this machine's clock


def payload_of(connection: Any, told: Circumstances, key: str | None = None) -> Fragment:
    """Return what an event keeps beside its columns, as an expression of bytes."""
    parts = [f'"data":{told.data}'] if told.data else []
    if key is not None:
        parts.append(f'"key":{json.dumps(key, ensure_ascii=False)}')
    cast = "::bytea" if connection.vendor == "postgresql" else ""
    if not parts:
        return f"NULL{cast}", ()
    return f"%s{cast}", (f"{{{','.join(parts)}}}".encode(),)


def _last_facets(subject: Subject, originator: str, field: str) -> Fragment:
    """Return the facets that the log has, which may lag behind what a relation shows now."""
    if subject.has_one_field:
        return "l.target_facets", ()
    last = (
        "(SELECT x.target_facets FROM stockflow_event x WHERE "
        f"x.application = '{STOCKFLOW}' AND x.originator = %s AND x.field = %s "
        "ORDER BY x.version DESC LIMIT 1)"
    )
    return last, (originator, field)


def _facets(connection: Any, subject: Subject, event: Pending) -> Fragment:
    """Return the canonical text of the event's facets; related ones are read in SQL."""
    paths = subject.facets(event.field)
    if not paths:
        return "'{}'", ()
    known = {
        lookup: path.to_json(event.facets[path.attname])
        for lookup, path in paths.items()
        if path.is_own or event.facets[path.attname] is None
    }
    if len(known) == len(paths):
        return "%s", (encode_facets(known),)
    pieces: list[str] = []
    values: list[Any] = []
    for n, lookup in enumerate(sorted(paths)):
        path = paths[lookup]
        label = f"{',' if n else '{'}{encode_value(lookup)}:"
        if lookup in known:
            pieces.append("%s")
            values.append(label + encode_value(known[lookup]))
        else:
            pieces += ["%s", path.sql(connection.vendor, connection.ops.quote_name)]
            values += [label, _value(connection, path.first, event.facets[path.attname])]
    return f"({' || '.join(pieces)} || '}}')", tuple(values)


def _value(connection: Any, field: Any, value: Any) -> Any:
    return field.get_db_prep_value(value, connection, prepared=False)

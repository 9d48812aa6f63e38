"""Appending the events of one save, in one statement unless they are very many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from django.db import connections

from stockflow.adapting import Adapter, adapter_of
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.eventstore.causes import Clocks, clocks_of
from stockflow.eventstore.causes import clock_of as timer_clock
from stockflow.eventstore.expressions import (
    clock_of,
    last_facets,
    payload_of,
    said_of,
    target_facets,
)
from stockflow.facets import Fragment, joined
from stockflow.ledgers import Pending
from stockflow.subjects import Subject
from stockflow.tables import STOCKFLOW

_COLUMNS = (
    "application, originator, version, topic, model, field, kind, transition, source, target, "
    "source_facets, target_facets, occurred_at, recorded_at, actor, reason, correlation, payload"
)
# The position of an event is not known to its writer, so nothing is returned.
_INSERT = f"INSERT INTO stockflow_event ({_COLUMNS}) "
_INSERT_OR_IGNORE = f"INSERT OR IGNORE INTO stockflow_event ({_COLUMNS}) "
_NULL: Fragment = "NULL", ()

AT_ONCE = 400
"""How many events one statement appends: SQLite takes no more than 500, PostgreSQL 1,664."""


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
    cursor: Any, subject: Subject, originator: str, events: Sequence[Pending], base: int = 0
) -> None:
    """Append events past the row: it does not exist yet, or the caller has locked it."""
    _append(cursor, subject, originator, base, events, clocks_of(events, base))


def _append(
    cursor: Any,
    subject: Subject,
    originator: str,
    base: int,
    events: Sequence[Pending],
    clocks: Clocks,
    *,
    is_logged: bool = False,
) -> None:
    for start in range(0, len(events), AT_ONCE):
        version, some = base + start, events[start : start + AT_ONCE]
        if cursor.db.vendor == "postgresql":
            calls, values = joined(calls_of(cursor.db, subject, originator, version, some, clocks))
            cursor.execute(f"SELECT {calls}", values)
            continue
        known = _last_event(originator, version) if is_logged else None
        arms = _arms(cursor.db, subject, originator, version, some, clocks, known)
        sql = _INSERT + " UNION ALL ".join(f"SELECT {arm}" for arm, _ in arms)
        cursor.execute(sql, [value for _, values in arms for value in values])


def append_following(
    cursor: Any, subject: Subject, originator: str, key: Key, events: Sequence[Pending]
) -> bool:
    """Append events to a row that is locked and checked by the same statement.

    Returns:
        False, and nothing is written, if the row is not as *key* says.
    """
    clocks, first = clocks_of(events, key.version), events[:AT_ONCE]
    if not _append_first(cursor, subject, originator, key, first, clocks):
        return False
    rest, base = events[AT_ONCE:], key.version + AT_ONCE
    _append(cursor, subject, originator, base, rest, clocks, is_logged=True)
    return True


def _append_first(
    cursor: Any,
    subject: Subject,
    originator: str,
    key: Key,
    events: Sequence[Pending],
    clocks: Clocks,
) -> bool:
    row, values = _locked_row(cursor.db, subject, key)
    if cursor.db.vendor == "postgresql":
        calls, its = joined(calls_of(cursor.db, subject, originator, key.version, events, clocks))
        cursor.execute(f"SELECT {calls} FROM (SELECT 1 {row}) s", [*its, *values])
        return bool(cursor.rowcount)
    known = _last_event(originator, key.version) if key.is_adopted else None
    if len(events) == 1:
        number: Fragment = f"(SELECT r.stock_version + 1 {row})", tuple(values)
        ((arm, its),) = _arms(
            cursor.db, subject, originator, key.version, events, clocks, known, number
        )
        # One row of VALUES is twice as quick as one that is selected, and so goes through a table
        # of its own. No such row makes the version NULL, and that is ignored; what a trigger
        # refuses is refused all the same.
        cursor.execute(f"{_INSERT_OR_IGNORE}VALUES ({arm})", its)
        return bool(cursor.rowcount)
    arms = _arms(cursor.db, subject, originator, key.version, events, clocks, known)
    for _, its in arms:
        values += its
    # WITH after INSERT: before it, Python's sqlite3 would not count the rows.
    sql = f"{_INSERT}WITH s AS (SELECT 1 {row}) " + " UNION ALL ".join(
        f"SELECT {arm} FROM s" for arm, _ in arms
    )
    cursor.execute(sql, values)
    return bool(cursor.rowcount == len(events))


def _last_event(originator: str, version: int) -> Callable[[str], Fragment]:
    def column(name: str) -> Fragment:
        found = (
            f"(SELECT l.{name} FROM stockflow_event l WHERE l.application = '{STOCKFLOW}' "
            "AND l.originator = %s AND l.version = %s)"
        )
        return found, (originator, version)

    return column


def calls_of(
    connection: Any,
    subject: Subject,
    originator: str,
    base: int,
    events: Sequence[Pending],
    clocks: Clocks,
) -> list[Fragment]:
    """Return PostgreSQL's calls that append *events*, one for each, versions rising from *base*.

    The function keeps its plan: planning such an INSERT anew takes longer than running it. The
    facets of a source that it is not given it takes from the field's last event.
    """
    calls: list[Fragment] = []
    label = subject.model._meta.label_lower
    cells = _cells(connection, subject, events, partial(last_facets, originator))
    for version, (event, source, target) in enumerate(cells, base + 1):
        facets, its_facets = joined([source or _NULL, target])
        clock = timer_clock(connection, clocks, event, originator)
        said = said_of(event.circumstances)
        payload = payload_of(connection, event.circumstances, clock=clock)
        # What the declarations fix stands in the text: each parameter costs more than its writing.
        sql = (
            f"stockflow_append(%s, %s, '{label}', '{event.field}', '{event.kind.value}', "
            f"%s, %s, %s, {facets}, %s, {said[0]}, {payload[0]})"
        )
        values = (originator, version, event.transition, event.source, event.target)
        at = to_micros(event.occurred_at)
        calls.append((sql, (*values, *its_facets, at, *said[1], *payload[1])))
    return calls


def _locked_row(connection: Any, subject: Subject, key: Key) -> tuple[str, list[Any]]:
    """Return where the subject's row is found, if it is as *key* says."""
    table, columns = subject.table, subject.columns
    states = tuple(name for name in key.states if columns[name].model is table)
    tests = {table._meta.pk.attname: key.pk}
    if key.is_adopted:
        tests["stock_lifecycle"] = key.lifecycle
    tests["stock_version"] = key.version
    if key.changed_at is not None:
        tests["stock_changed_at"] = key.changed_at
    for name in states:
        tests[name] = key.states[name]
    sql, adapters = _row_query(connection.alias, table, tuple(tests))
    given = zip(adapters, tests.values(), strict=True)
    return sql, [adapt(value, connection) for adapt, value in given]


@lru_cache(maxsize=1024)
def _row_query(using: str, table: Any, names: tuple[str, ...]) -> tuple[str, list[Adapter]]:
    """Return the text of :func:`_locked_row`'s query, and how each of its values is adapted.

    The lock comes before the events: a writer that inserted first and locked at its UPDATE
    would deadlock with one that came between.
    """
    connection, meta = connections[using], table._meta
    quote = connection.ops.quote_name
    fields = [meta.get_field(name) for name in names]
    tests = [f"r.{quote(field.column)} = %s" for field in fields]
    lock = " FOR NO KEY UPDATE" if connection.vendor == "postgresql" else ""
    sql = f"FROM {quote(meta.db_table)} r WHERE {' AND '.join(tests)}{lock}"
    return sql, [adapter_of(field, connection.vendor) for field in fields]


def _cells(
    connection: Any,
    subject: Subject,
    events: Sequence[Pending],
    last: Callable[[str], Fragment],
) -> Iterator[tuple[Pending, Fragment | None, Fragment]]:
    """Yield each event with the facets of its source and target; None: those of the *last* event."""
    seen: dict[str, Fragment] = {}
    for event in events:
        source = _NULL if event.source is None else seen.get(event.field)
        target = _NULL
        if event.target is not None:
            target = target_facets(connection, subject, event, source or last(event.field))
        seen[event.field] = target
        yield event, source, target


def _arms(
    connection: Any,
    subject: Subject,
    originator: str,
    base: int,
    events: Sequence[Pending],
    clocks: Clocks,
    known: Callable[[str], Fragment] | None = None,
    number: Fragment | None = None,
) -> list[Fragment]:
    """Return one list of values per event, versions rising from *base*, or the one that has *number*.

    What the log has by now is taken from its last event, whose columns are *known*.
    """
    model: Fragment = f"'{subject.model._meta.label_lower}'", ()
    if known is not None:
        logged, its_key = known("model")
        model = f"COALESCE({logged}, {model[0]})", its_key
    recorded_at, its_clock = clock_of(connection)
    arms: list[Fragment] = []

    def last(field: str) -> Fragment:
        if known is not None and subject.has_one_field:
            return known("target_facets")
        return last_facets(originator, field)

    cells = _cells(connection, subject, events, last)
    for version, (event, source, target) in enumerate(cells, base + 1):
        facets, its_facets = joined([source or last(event.field), target])
        clock = timer_clock(connection, clocks, event, originator)
        said = said_of(event.circumstances)
        payload = payload_of(connection, event.circumstances, clock=clock)
        nth = number or ("%s", (version,))
        sql = (
            f"'{STOCKFLOW}', %s, {nth[0]}, '{TOPICS[event.kind]}', {model[0]}, '{event.field}', "
            f"'{event.kind.value}', %s, %s, %s, {facets}, %s, {recorded_at}, {said[0]}, {payload[0]}"
        )
        values = originator, *nth[1], *model[1], event.transition, event.source, event.target
        instants = to_micros(event.occurred_at), *its_clock
        arms.append((sql, (*values, *its_facets, *instants, *said[1], *payload[1])))
    return arms

"""The statements that write what decays did to many objects of one model."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections, models

from stockflow import rows
from stockflow.bulk import writing
from stockflow.bulk.cells import facets_sql
from stockflow.bulk.chunks import last_join, originator_of, prepared
from stockflow.bulk.commands import clocked_values
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.expressions import bytes_of, clock_of
from stockflow.eventstore.payloads import cause_text
from stockflow.fields import StockField
from stockflow.moments import SCHEDULE
from stockflow.scheduling.locking import Timer
from stockflow.subjects import subject_of
from stockflow.tables import STOCKFLOW, Kind


class Step(NamedTuple):
    """One decay of one object, and what is due after it."""

    transition: str
    source: str
    target: str
    at: datetime
    due_at: datetime | None
    following: str


class Changed(NamedTuple):
    """One object, as its row and its timer are, and what it goes through."""

    pk: Any
    timer: Timer
    version: int
    due_at: datetime
    steps: list[Step]

    def causes(self) -> list[str]:
        """Return what the log keeps of each step's timer: the first one's is the object's own."""
        clocks = [self.timer.version, *range(self.version + 1, self.version + len(self.steps))]
        dues = [self.due_at, *(step.due_at for step in self.steps[:-1] if step.due_at)]
        return [
            f'{{"cause":{cause_text(to_micros(due), clock)}}}'
            for due, clock in zip(dues, clocks, strict=True)
        ]


class Writing:
    """Writes the events, rows and timers of locked objects of one model with one stock field."""

    def __init__(self, model: type[models.Model], field: StockField, using: str) -> None:
        self.model, self.field, self.using = model, field, using
        self.subject, self.connection = subject_of(model), connections[using]
        self.quote: Any = self.connection.ops.quote_name

    def write(self, changed: Sequence[Changed]) -> None:
        """Write all that *changed* says; the objects are given in the order of their keys."""
        keys = prepared(self.subject, self.using, [one.pk for one in changed])
        self._append(changed, keys)
        self._update(changed, keys)
        self._write_timers(changed)

    def _append(self, changed: Sequence[Changed], keys: Sequence[Any]) -> None:
        """Append the events, in the order of their instants."""
        kinds: dict[tuple[str, str, str], int] = {}
        found: list[tuple[int, Any, int, int, str]] = []
        for key, one in zip(keys, changed, strict=True):
            for n, (step, cause) in enumerate(zip(one.steps, one.causes(), strict=True), 1):
                kind = kinds.setdefault(step[:3], len(kinds))
                found.append((to_micros(step.at), key, n, kind, cause))
        found.sort(key=lambda event: event[0])
        sql, values = self._insert(list(kinds))
        source, arrays = self._source(found)
        with self.connection.cursor() as cursor:
            cursor.execute(sql.format(source=source), [*values[0], *arrays, *values[1]])
            self._require(cursor.rowcount, len(found))

    def _source(self, found: Sequence[tuple[int, Any, int, int, str]]) -> tuple[str, list[Any]]:
        if self.connection.vendor == "postgresql":
            types = ("bigint", self._key_type(), "int", "int", "text")
            arrays = ", ".join(f"%s::{name}[]" for name in types)
            columns = [list(column) for column in zip(*found, strict=True)]
            return f"unnest({arrays}) v(at, key, step, kind, cause)", columns
        chosen = ", ".join(
            f"json_extract(value, '$[{n}]') AS {name}"
            for n, name in enumerate(("at", "key", "step", "kind", "cause"))
        )
        return f"(SELECT {chosen} FROM json_each(%s)) v", [json.dumps(found)]

    def _key_type(self) -> str:
        return rows.array_type(self.connection, self.subject.table._meta.pk)

    def _insert(self, kinds: Sequence[tuple[str, str, str]]) -> tuple[str, tuple[Any, Any]]:
        table = self.subject.table._meta
        join, join_values = last_join(self.connection, self.subject, self.field.name)
        clock, clock_values = clock_of(self.connection)
        facets = facets_sql(self.connection, self.subject, self.field.name)
        chosen = "CASE v.kind " + "WHEN {} THEN %s " * len(kinds) + "END"
        chosen = chosen.format(*range(len(kinds)))
        transitions, sources, targets = zip(*kinds, strict=True)
        # CROSS JOIN keeps SQLite to the order of the loops.
        cross = "CROSS JOIN" if self.connection.vendor == "sqlite" else "JOIN"
        sql = (
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation, payload) "
            f"SELECT '{STOCKFLOW}', {originator_of(self.connection)}, r.stock_version + v.step, %s, "
            f"COALESCE(l.model, %s), %s, %s, {chosen}, {chosen}, {chosen}, "
            f"CASE WHEN v.step = 1 THEN l.target_facets ELSE {_braced(facets)} END, "
            f"{_braced(facets)}, v.at, {clock}, %s, '', '', {bytes_of(self.connection, 'v.cause')} FROM {{source}} "
            f"{cross} {self.quote(table.db_table)} r ON r.{self.quote(table.pk.column)} = v.key"
            f"{join} WHERE true ORDER BY v.at, v.key, v.step"
        )
        kind = Kind.MOVED
        names = (TOPICS[kind], self.model._meta.label_lower, self.field.name, kind.value)
        before = (*names, *transitions, *sources, *targets, *clock_values, SCHEDULE)
        return sql, (before, join_values)

    def _update(self, changed: Sequence[Changed], keys: Sequence[Any]) -> None:
        columns, field = self.subject.columns, self.field
        written = (
            "stock_version",
            "stock_changed_at",
            field.name,
            field.since_name,
            field.due_name,
        )
        fields = [columns[name] for name in written]
        clocked = clocked_values(self.model)
        types = {"k": self._key_type(), "b": "bigint"}
        for each in [*fields, *clocked]:
            types[self.quote(each.column)] = rows.array_type(self.connection, each)
        instant = columns["stock_changed_at"]
        same = [f.get_db_prep_save(value, self.connection) for f, value in clocked.items()]
        values = []
        for key, one in zip(keys, changed, strict=True):
            last = one.steps[-1]
            at = instant.get_db_prep_save(last.at, self.connection)
            due_at = instant.get_db_prep_save(last.due_at, self.connection)
            after = one.version + len(one.steps)
            values.append((key, one.version, after, at, last.target, at, due_at, *same))
        table = self.subject.table._meta
        found = rows.update(
            self.connection, self.quote(table.db_table), self.quote(table.pk.column), types, values
        )
        self._require(found, len(changed))

    def _write_timers(self, changed: Sequence[Changed]) -> None:
        label, started, ended = self.model._meta.label_lower, [], []
        for one in changed:
            last = one.steps[-1]
            if last.due_at is None:
                ended.append(one.timer.id)
            else:
                lifecycle = writing.lifecycle_value(self.model, self.using, one.timer.lifecycle)
                version, due_at = one.version + len(one.steps), to_micros(last.due_at)
                started.append((lifecycle, label, self.field.name, version, last.following, due_at))
        writing.start_timers(self.using, started)
        writing.end_known_timers(self.using, ended)

    def _require(self, found: int, expected: int) -> None:
        if found != expected:
            raise ConcurrentTransition(
                f"{expected - found} of {expected} rows of {self.model._meta.label} changed under "
                "the lock: is transaction_mode IMMEDIATE? Run the schedule again."
            )


def _braced(sql: str) -> str:
    # The source is put in by str.format(), and the facets are JSON.
    return sql.replace("{", "{{").replace("}", "}}")

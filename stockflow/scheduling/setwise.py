"""Firing decays without reading the objects: those after which nothing is due within the chunk.

Four statements move them all: the lock, the events, the rows, the timers.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections, models

from stockflow import conf
from stockflow.bulk.cells import facets_sql
from stockflow.bulk.chunks import last_join, originator_of
from stockflow.bulk.commands import clocked_values
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import MICROSECOND, to_micros
from stockflow.domain.machine import Machine
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.expressions import bytes_of, cause_text, clock_of
from stockflow.machines import machine_of
from stockflow.moments import SCHEDULE
from stockflow.rows import among, array_type
from stockflow.subjects import subject_of
from stockflow.tables import STOCKFLOW, Kind


class Move(NamedTuple):
    """What a decay does to every object, and what follows how many microseconds later."""

    transition: str
    source: str
    target: str
    following: str
    micros: int


def moves_of(machine: Machine) -> dict[tuple[str, str], Move] | None:
    """Return the decays by state and transition; None if one is due at no fixed length."""
    found: dict[tuple[str, str], Move] = {}
    for rule in (rule for rule in machine.rules if rule.delay is not None):
        for decay in machine.decays(rule.source):
            target = machine.target(decay.transition, rule.source)
            following = machine.decays(target) if target is not None else ()
            lengths = {d.transition: d.delay for d in following}
            if target is None or not all(isinstance(x, timedelta) for x in lengths.values()):
                return None
            micros = {name: max(0, x // MICROSECOND) for name, x in lengths.items()}  # type: ignore[operator]
            first = min(micros, key=lambda name: micros[name], default="")
            key = rule.source, decay.transition
            found[key] = Move(decay.transition, rule.source, target, first, micros.get(first, 0))
    return found


class Due(NamedTuple):
    """A timer whose object is locked, and where its row is."""

    timer: int
    row: Any
    at: int
    version: int
    transition: str
    state: str


class Setwise:
    """The statements for the objects of one model with one stock field, all of one chunk."""

    def __init__(self, model: type[models.Model], using: str) -> None:
        self.model, self.using = model, using
        self.subject = subject_of(model)
        self.connection: Any = connections[using]
        self.field = self.subject.fields[0]
        self.is_postgresql = self.connection.vendor == "postgresql"
        quote: Any = self.connection.ops.quote_name
        columns, pk = self.subject.columns, self.subject.table._meta.pk
        names = (self.field.name, self.field.since_name, self.field.due_name)
        self.state, self.since, self.due = (quote(columns[name].column) for name in names)
        self.changed_at = quote(columns["stock_changed_at"].column)
        self.table = quote(self.subject.table._meta.db_table)
        # What names a row fastest: on SQLite that is a number, whatever the primary key.
        self.key = quote(pk.column) if self.is_postgresql else "rowid"
        self.key_type = array_type(self.connection, pk)

    def fire(self, first: int, limit: int, ids: Sequence[int]) -> set[int]:
        """Fire those of the timers *ids*, due from *first* on, that SQL alone can.

        That is none where what they lead to is due at *limit* or before, too.

        Returns:
            The timers that are done with.
        """
        moves = moves_of(machine_of(self.model, self.field.name))
        if moves is None:
            return set()
        if any(move.following and first + move.micros <= limit for move in moves.values()):
            return set()
        found: dict[Move, list[Due]] = {}
        done = []
        for one in self._locked(ids, limit):
            if (one.state, one.transition) in moves:
                found.setdefault(moves[one.state, one.transition], []).append(one)
                done.append(one)
        if done:
            self._append(list(found), done)
            for move, some in found.items():
                self._update(move, [one.row for one in some])
                self._set_timers(move, [one.timer for one in some])
        return {one.timer for one in done}

    def _instant(self, micros: str) -> str:
        """Return the expression of an instant as its column holds it."""
        if self.is_postgresql:
            return f"(timestamptz 'epoch' + ({micros}) * interval '1 microsecond')"
        seconds = f"strftime('%%Y-%%m-%%d %%H:%%M:%%S', ({micros}) / 1000000, 'unixepoch')"
        rest = f"({micros}) %% 1000000"
        return f"({seconds} || CASE {rest} WHEN 0 THEN '' ELSE printf('.%%06d', {rest}) END)"

    def _execute(self, sql: str, values: Sequence[Any]) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if sql.startswith("SELECT") else cursor.rowcount

    def _locked(self, ids: Sequence[int], limit: int) -> list[Due]:
        """Lock the objects whose rows say what their timers say, and read which they are."""
        test, chosen = among(self.connection, "t.id", ids)
        lock = " FOR NO KEY UPDATE OF r SKIP LOCKED" if self.is_postgresql else ""
        sql = (
            f"SELECT t.id, r.{self.key}, t.due_at, t.version, t.transition, r.{self.state} "
            f"FROM stockflow_scheduledtransition t "
            f"JOIN {self.table} r ON r.stock_lifecycle = t.lifecycle WHERE {test} "
            "AND t.field = %s AND t.due_at <= %s AND t.parked_at IS NULL "
            "AND (t.retry_at IS NULL OR t.retry_at <= %s) "
            f"AND r.{self.due} = {self._instant('t.due_at')} AND r.{self.changed_at} <= r.{self.due} "
            f"ORDER BY t.due_at, t.id{lock}"
        )
        values = [*chosen, self.field.name, limit, to_micros(conf.now(self.using))]
        return [Due(*row) for row in self._execute(sql, values)]

    def _append(self, moves: Sequence[Move], done: Sequence[Due]) -> None:
        """Append the events in due order."""
        join, join_values = last_join(self.connection, self.subject, self.field.name)
        clock, clock_values = clock_of(self.connection)
        target, target_values = _target(moves, self.state)
        facets = facets_sql(self.connection, self.subject, self.field.name)
        source, source_values = self._source(done, join)
        cause = cause_text("' || t.due_at || '", "' || t.version || '")
        cause = bytes_of(self.connection, f"""'{{"cause":{cause}}}'""")
        sql = (
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation, payload) "
            f"SELECT '{STOCKFLOW}', {originator_of(self.connection)}, r.stock_version + 1, %s, "
            f"COALESCE(l.model, %s), %s, %s, t.transition, r.{self.state}, {target}, "
            f"l.target_facets, {facets}, t.due_at, {clock}, %s, '', '', {cause} FROM {source}"
        )
        kind, label = Kind.MOVED, self.model._meta.label_lower
        before = [TOPICS[kind], label, self.field.name, kind.value, *target_values]
        values = [*before, *clock_values, SCHEDULE, *source_values, *join_values]
        self._require(self._execute(sql, values), len(done))

    def _source(self, done: Sequence[Due], join: str) -> tuple[str, list[Any]]:
        """Return what follows FROM: rows ``r``, timers ``t`` and *join*, in the order of *done*."""
        if self.is_postgresql:
            _, rows, dues, versions, transitions, _ = (
                list(column) for column in zip(*done, strict=True)
            )
            return (
                f"unnest(%s::{self.key_type}[], %s::bigint[], %s::bigint[], %s::text[]) "
                "WITH ORDINALITY AS t(key, due_at, version, transition, n) "
                f"JOIN {self.table} r ON r.{self.key} = t.key{join} ORDER BY t.n"
            ), [rows, dues, versions, transitions]
        # CROSS JOIN keeps SQLite to the order of the loops, so that nothing need be sorted.
        return (
            "json_each(%s) v CROSS JOIN stockflow_scheduledtransition t ON t.id = v.value "
            f"CROSS JOIN {self.table} r ON r.stock_lifecycle = t.lifecycle{join}"
        ), [json.dumps([one.timer for one in done])]

    def _update(self, move: Move, rows: Sequence[Any]) -> None:
        test, chosen = among(self.connection, f"r.{self.key}", rows)
        quote, clocked = self.connection.ops.quote_name, clocked_values(self.model)
        also = "".join(f", {quote(field.column)} = %s" for field in clocked)
        same = [f.get_db_prep_save(value, self.connection) for f, value in clocked.items()]
        due, due_values = self._following(move)
        sql = (
            f"UPDATE {self.table} AS r SET stock_version = r.stock_version + 1, "
            f"{self.state} = %s, {self.since} = r.{self.due}, {self.due} = {due}, "
            f"{self.changed_at} = r.{self.due}{also} WHERE {test}"
        )
        self._require(self._execute(sql, [move.target, *due_values, *same, *chosen]), len(rows))

    def _following(self, move: Move) -> tuple[str, list[Any]]:
        """Return when the decay after *move* is due."""
        if not move.following:
            return "NULL", []
        if self.is_postgresql:
            return f"r.{self.due} + %s * interval '1 microsecond'", [move.micros]
        return (
            f"(SELECT {self._instant(f't.due_at + {move.micros}')} "
            "FROM stockflow_scheduledtransition t "
            "WHERE t.lifecycle = r.stock_lifecycle AND t.field = %s)"
        ), [self.field.name]

    def _set_timers(self, move: Move, ids: Sequence[int]) -> None:
        name = "stockflow_scheduledtransition"
        test, chosen = among(self.connection, f"{name}.id", ids)
        if not move.following:
            self._execute(f"DELETE FROM {name} WHERE {test}", chosen)
            return
        version = f"SELECT r.stock_version FROM {self.table} r WHERE r.stock_lifecycle = lifecycle"
        sql = (
            f"UPDATE {name} SET version = ({version}), transition = %s, due_at = due_at + %s, "
            f"attempts = 0, error = '', retry_at = NULL, released_at = NULL WHERE {test}"
        )
        self._require(self._execute(sql, [move.following, move.micros, *chosen]), len(ids))

    def _require(self, found: int, expected: int) -> None:
        if found != expected:
            raise ConcurrentTransition(
                f"{expected - found} of {expected} rows of {self.model._meta.label} changed under "
                "the lock: is transaction_mode IMMEDIATE? Run the schedule again."
            )


def _target(moves: Sequence[Move], state: str) -> tuple[str, list[str]]:
    """Return the expression of the state that row ``r`` moves to."""
    if len(moves) == 1:
        return "%s", [moves[0].target]
    values = [value for move in moves for value in (move.source, move.transition, move.target)]
    whens = f"WHEN r.{state} = %s AND t.transition = %s THEN %s " * len(moves)
    return f"CASE {whens}END", values

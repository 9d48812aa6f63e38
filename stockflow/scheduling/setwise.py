"""Firing decays without reading the objects: those after which nothing is due within the chunk.

Three or four statements move them all: the lock, the events, the rows, and the timers, unless these
end with the statement of the events.
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
from stockflow.eventstore.expressions import bytes_of, clock_of
from stockflow.eventstore.payloads import cause_text
from stockflow.machines import machine_of
from stockflow.moments import SCHEDULE
from stockflow.rows import among, among_listed
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


class Locked(NamedTuple):
    """The timers of one transition from one state whose objects are locked.

    Attributes:
        transition: Its name.
        state: What the objects are in.
        timers: Their ids.
        rows: What names the objects' rows, in the database's own notation of many.
    """

    transition: str
    state: str
    timers: list[int]
    rows: str


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

    def fire(self, first: int, limit: int, ids: Sequence[int]) -> set[int]:
        """Fire those of the timers *ids*, due from *first* on, that SQL alone can.

        That is none where what they lead to is due at *limit* or before, too.

        Returns:
            The timers that are done with.
        """
        moves = moves_of(machine_of(self.model, self.field.name))
        # SQLite keeps instants as texts, in the zone of the connection.
        if moves is None or not (self.is_postgresql or self.connection.timezone_name == "UTC"):
            return set()
        if any(move.following and first + move.micros <= limit for move in moves.values()):
            return set()
        locked = self._locked(ids, limit)
        found = {key: some for some in locked if (key := (some.state, some.transition)) in moves}
        done = [timer for some in found.values() for timer in some.timers]
        if done:
            are_ended = self._append([moves[key] for key in found], done)
            for key, some in found.items():
                self._update(moves[key], some)
                if not are_ended:
                    self._set_timers(moves[key], some.timers)
        return set(done)

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

    def _locked(self, ids: Sequence[int], limit: int) -> list[Locked]:
        """Lock the objects whose rows say what their timers say, and read which they are."""
        test, chosen = among(self.connection, "t.id", ids)
        rows = (
            f"{self.table} r WHERE r.stock_lifecycle = t.lifecycle "
            f"AND r.{self.due} = {self._instant('t.due_at')} AND r.{self.changed_at} <= r.{self.due}"
        )
        grouped = "json_group_array(id), json_group_array(key)"
        if self.is_postgresql:
            rows = f"LATERAL (SELECT r.* FROM {rows} FOR NO KEY UPDATE SKIP LOCKED) r WHERE true"
            grouped = "array_to_json(array_agg(id))::text, array_agg(key)::text"
        sql = (
            f"SELECT transition, state, {grouped} FROM ("
            f"SELECT t.id, r.{self.key} AS key, t.transition, r.{self.state} AS state "
            f"FROM stockflow_scheduledtransition t CROSS JOIN {rows} AND {test} "
            "AND t.field = %s AND t.due_at <= %s AND t.parked_at IS NULL "
            "AND (t.retry_at IS NULL OR t.retry_at <= %s)) found GROUP BY transition, state"
        )
        values = [*chosen, self.field.name, limit, to_micros(conf.now(self.using))]
        return [
            Locked(transition, state, json.loads(timers), keys)
            for transition, state, timers, keys in self._execute(sql, values)
        ]

    def _append(self, moves: Sequence[Move], timers: Sequence[int]) -> bool:
        """Append the events in due order; return whether that ended the timers, too."""
        clock, clock_values = clock_of(self.connection)
        target, target_values = _target(moves, self.state)
        facets = facets_sql(self.connection, self.subject, self.field.name)
        last, last_values = last_join(self.connection, self.subject, self.field.name)
        cause = cause_text("' || t.due_at || '", "' || t.version || '")
        cause = bytes_of(self.connection, f"""'{{"cause":{cause}}}'""")
        insert = (
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation, payload) "
            f"SELECT '{STOCKFLOW}', {originator_of(self.connection)}, r.stock_version + 1, %s, "
            f"COALESCE(l.model, %s), %s, %s, t.transition, r.{self.state}, {target}, "
            f"l.target_facets, {facets}, t.due_at, {clock}, %s, '', '', {cause} FROM"
        )
        kind, label = Kind.MOVED, self.model._meta.label_lower
        told = [TOPICS[kind], label, self.field.name, kind.value, *target_values]
        told += [*clock_values, SCHEDULE, *last_values]
        due, order = "stockflow_scheduledtransition t", "ORDER BY t.due_at, t.id"
        test, chosen = among(self.connection, "t.id", timers)
        joins = f"CROSS JOIN {self._row()}{last}"
        if are_ended := self.is_postgresql and not any(move.following for move in moves):
            read = "t.id, t.lifecycle, t.version, t.transition, t.due_at"
            ended = f"WITH t AS (DELETE FROM {due} WHERE {test} RETURNING {read})"
            sql, values = f"{ended} {insert} t {joins} {order}", [*chosen, *told]
        else:
            sql, values = f"{insert} {due} {joins} WHERE {test} {order}", [*told, *chosen]
        self._require(self._execute(sql, values), len(timers))
        return are_ended

    def _row(self) -> str:
        """Return how row ``r`` of timer ``t`` is found: by a look-up, whatever the statistics say."""
        found = f"{self.table} r {{}} r.stock_lifecycle = t.lifecycle"
        if self.is_postgresql:
            return f"LATERAL (SELECT r.* FROM {found.format('WHERE')} LIMIT 1) r"
        return found.format("ON")

    def _update(self, move: Move, locked: Locked) -> None:
        test, chosen = among_listed(self.connection, f"r.{self.key}", locked.rows)
        quote, clocked = self.connection.ops.quote_name, clocked_values(self.model)
        also = "".join(f", {quote(field.column)} = %s" for field in clocked)
        same = [f.get_db_prep_save(value, self.connection) for f, value in clocked.items()]
        due, due_values = self._following(move)
        sql = (
            f"UPDATE {self.table} AS r SET stock_version = r.stock_version + 1, "
            f"{self.state} = %s, {self.since} = r.{self.due}, {self.due} = {due}, "
            f"{self.changed_at} = r.{self.due}{also} WHERE {test}"
        )
        self._require(
            self._execute(sql, [move.target, *due_values, *same, *chosen]), len(locked.timers)
        )

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
        version = (
            f"SELECT r.stock_version FROM {self.table} r WHERE r.stock_lifecycle = {name}.lifecycle"
        )
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

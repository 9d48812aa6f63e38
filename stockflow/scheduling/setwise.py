"""Firing decays without reading the objects: those after which nothing is due within the chunk.

Four statements move them all: the lock, the events, the rows, the timers.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections, models

from stockflow import conf
from stockflow.bulk.cells import facets_sql
from stockflow.bulk.chunks import last_join, originator_of
from stockflow.bulk.commands import clocked_values
from stockflow.bulk.rows import among
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import MICROSECOND, to_micros
from stockflow.domain.machine import Machine
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.expressions import bytes_of, cause_text, clock_of
from stockflow.machines import machine_of
from stockflow.moments import SCHEDULE
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


class Setwise:
    """The statements for the objects of one model with one stock field, all of one chunk."""

    def __init__(self, model: type[models.Model], using: str) -> None:
        self.model, self.using = model, using
        self.subject = subject_of(model)
        self.connection: Any = connections[using]
        self.field = self.subject.fields[0]
        self.is_postgresql = self.connection.vendor == "postgresql"
        quote: Any = self.connection.ops.quote_name
        columns = self.subject.columns
        names = (self.field.name, self.field.since_name, self.field.due_name)
        self.state, self.since, self.due = (quote(columns[name].column) for name in names)
        self.changed_at = quote(columns["stock_changed_at"].column)
        self.table = quote(self.subject.table._meta.db_table)
        self.pk = quote(self.subject.table._meta.pk.column)

    def fire(self, first: int, last: int, ids: Sequence[int]) -> set[int]:
        """Fire those of the timers *ids*, due from *first* to *last*, that SQL alone can.

        Returns:
            The timers that are done with.
        """
        moves = moves_of(machine_of(self.model, self.field.name))
        if moves is None or not self._is_able():
            return set()
        if any(move.following and first + move.micros <= last for move in moves.values()):
            return set()
        found: dict[Move, list[int]] = {}
        for timer, state, transition in self._locked(ids, last):
            if (state, transition) in moves:
                found.setdefault(moves[state, transition], []).append(timer)
        done = [timer for timers in found.values() for timer in timers]
        if done:
            self._append(list(found), done)
            self._update(list(found), done)
            for move, timers in found.items():
                self._set_timers(move, timers)
        return set(done)

    def _is_able(self) -> bool:
        # UPDATE ... FROM is of SQLite 3.33.
        return self.is_postgresql or self.connection.Database.sqlite_version_info >= (3, 33)

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

    def _locked(self, ids: Sequence[int], last: int) -> list[tuple[int, str, str]]:
        """Lock the objects whose rows say what their timers say, and read which they are."""
        test, chosen = among(self.connection, "t.id", ids)
        lock = " FOR NO KEY UPDATE OF r SKIP LOCKED" if self.is_postgresql else ""
        at = self._instant("t.due_at")
        sql = (
            f"SELECT t.id, r.{self.state}, t.transition FROM stockflow_scheduledtransition t "
            f"JOIN {self.table} r ON r.stock_lifecycle = t.lifecycle WHERE {test} "
            f"AND t.field = %s AND t.due_at <= %s AND t.parked_at IS NULL AND (t.retry_at IS NULL OR t.retry_at <= %s) "
            f"AND r.{self.due} = {at} AND r.{self.changed_at} <= {at} ORDER BY r.{self.pk}{lock}"
        )
        values = [*chosen, self.field.name, last, to_micros(conf.now(self.using))]
        found: list[tuple[int, str, str]] = self._execute(sql, values)
        return found

    def _append(self, moves: Sequence[Move], ids: Sequence[int]) -> None:
        test, chosen = among(self.connection, "t.id", ids)
        join, join_values = last_join(self.connection, self.subject, self.field.name)
        clock, clock_values = clock_of(self.connection)
        target, target_values = self._case(moves, {move: ("%s", [move.target]) for move in moves})
        facets = facets_sql(self.connection, self.subject, self.field.name)
        cause = cause_text("' || t.due_at || '", "' || t.version || '")
        cause = bytes_of(self.connection, f"""'{{"cause":{cause}}}'""")
        sql = (
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation, payload) "
            f"SELECT '{STOCKFLOW}', {originator_of(self.connection)}, r.stock_version + 1, %s, "
            f"COALESCE(l.model, %s), %s, %s, t.transition, r.{self.state}, {target}, "
            f"l.target_facets, {facets}, t.due_at, {clock}, %s, '', '', {cause} "
            f"FROM stockflow_scheduledtransition t JOIN {self.table} r "
            f"ON r.stock_lifecycle = t.lifecycle{join} WHERE {test} ORDER BY t.due_at, t.id"
        )
        kind, label = Kind.MOVED, self.model._meta.label_lower
        before = [TOPICS[kind], label, self.field.name, kind.value, *target_values]
        self._require(
            self._execute(sql, [*before, *clock_values, SCHEDULE, *join_values, *chosen]), len(ids)
        )

    def _update(self, moves: Sequence[Move], ids: Sequence[int]) -> None:
        test, chosen = among(self.connection, "t.id", ids)
        target, target_values = self._case(moves, {move: ("%s", [move.target]) for move in moves})
        null = "NULL::timestamptz" if self.is_postgresql else "NULL"
        dues: dict[Move, tuple[str, list[Any]]] = {
            move: (self._instant(f"t.due_at + {move.micros}") if move.following else null, [])
            for move in moves
        }
        due, due_values = self._case(moves, dues)
        at = self._instant("t.due_at")
        quote, clocked = self.connection.ops.quote_name, clocked_values(self.model)
        also = "".join(f", {quote(field.column)} = %s" for field in clocked)
        same = [f.get_db_prep_save(value, self.connection) for f, value in clocked.items()]
        sql = (
            f"UPDATE {self.table} AS r SET stock_version = r.stock_version + 1, "
            f"{self.state} = {target}, {self.since} = {at}, {self.due} = {due}, "
            f"{self.changed_at} = {at}{also} FROM stockflow_scheduledtransition t "
            f"WHERE r.stock_lifecycle = t.lifecycle AND {test}"
        )
        self._require(self._execute(sql, [*target_values, *due_values, *same, *chosen]), len(ids))

    def _case(
        self, moves: Sequence[Move], values: dict[Move, tuple[str, list[Any]]]
    ) -> tuple[str, list[Any]]:
        """Return the expression of what differs between *moves*."""
        if len(moves) == 1:
            return values[moves[0]]
        parts, found = [], list[Any]()
        for move in moves:
            sql, its = values[move]
            parts.append(f"WHEN r.{self.state} = %s AND t.transition = %s THEN {sql}")
            found += [move.source, move.transition, *its]
        return f"CASE {' '.join(parts)} END", found

    def _set_timers(self, move: Move, ids: Sequence[int]) -> None:
        name = "stockflow_scheduledtransition"
        test, chosen = among(self.connection, f"{name}.id", ids)
        if not move.following:
            self._execute(f"DELETE FROM {name} WHERE {test}", chosen)
            return
        sql = (
            f"UPDATE {name} SET version = r.stock_version, transition = %s, due_at = due_at + %s, "
            "attempts = 0, error = '', retry_at = NULL, released_at = NULL "
            f"FROM {self.table} r WHERE r.stock_lifecycle = lifecycle AND {test}"
        )
        self._require(self._execute(sql, [move.following, move.micros, *chosen]), len(ids))

    def _require(self, found: int, expected: int) -> None:
        if found != expected:
            raise ConcurrentTransition(
                f"{expected - found} of {expected} rows of {self.model._meta.label} changed under "
                "the lock: is transaction_mode IMMEDIATE? Run the schedule again."
            )

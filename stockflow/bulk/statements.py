"""A transition that does the same to every object, made by SQL: no instance is loaded."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connections

from stockflow import conf, contexts, timers
from stockflow.bulk.cells import facets_sql
from stockflow.bulk.chunks import last_join, originator_of
from stockflow.bulk.commands import Command, clocked_values
from stockflow.contexts import Circumstances
from stockflow.domain.decay import Decay, earliest
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.expressions import clock_of, payload_of
from stockflow.facets import Fragment
from stockflow.machines import machine_of
from stockflow.rows import among
from stockflow.tables import STOCKFLOW, Kind


class Sorted(NamedTuple):
    """The locked rows of a chunk, by what is to become of them.

    Attributes:
        groups: Keys by target: those that SQL moves.
        timed: Those of them that have a timer.
        alone: Keys that need their instance: never adopted, overdue, or later than the instant.
        refused: How many are in a state that the transition does not leave.
    """

    groups: dict[str, list[Any]]
    timed: set[Any]
    alone: list[Any]
    refused: int


@dataclass(frozen=True)
class Statements:
    """The statements of one chunk: all at one instant, under the same circumstances."""

    command: Command
    using: str
    at: datetime
    told: Circumstances

    @classmethod
    def now(cls, command: Command, using: str) -> "Statements":
        """Return those of what is called now."""
        told = contexts.current()
        return cls(command, using, told.at or conf.now(using), told)

    @cached_property
    def _connection(self) -> Any:
        return connections[self.using]

    @cached_property
    def _table(self) -> str:
        return self._quote(self.command.subject.table._meta.db_table)

    @cached_property
    def _pk(self) -> str:
        return self._quote(self.command.subject.table._meta.pk.column)

    def _quote(self, name: str | None) -> str:
        quoted: str = self._connection.ops.quote_name(name)
        return quoted

    def _column(self, attname: str) -> str:
        return self._quote(self.command.subject.columns[attname].column)

    def _instant(self, at: datetime | None) -> Any:
        field = self.command.subject.columns["stock_changed_at"]
        return field.get_db_prep_value(at, self._connection, prepared=False)

    def sort(self, keys: Sequence[Any]) -> Sorted:
        """Lock the rows of *keys* in their order, and say which of them SQL moves."""
        if self.told.at is not None and self.told.at > conf.now(self.using):
            return Sorted({}, set(), list(keys), 0)  # an instance says what is wrong with it
        groups, timed, alone, refused = defaultdict[str, list[Any]](list), set[Any](), [], 0
        targets: dict[str, str | None] = {}
        for key, state, needs_instance, has_timer in self._locked(keys):
            if state not in targets:
                targets[state] = self._target(state)
            target = targets[state]
            if needs_instance or target == "":
                alone.append(key)
            elif target is None:
                refused += 1
            else:
                groups[target].append(key)
                if has_timer:
                    timed.add(key)
        return Sorted(groups, timed, alone, refused)

    def _target(self, state: str) -> str | None:
        """Return what *state* is left for; None if it is not left, "" if an instance decides."""
        meta = self.command.meta
        if not meta.has_transition(state):
            return None
        target = str.__str__(meta.next_state(state))
        return "" if any(decay.needs_subject for decay in self._decays(target)) else target

    def _decays(self, state: str) -> tuple[Decay, ...]:
        return machine_of(self.command.model, self.command.field.name).decays(state)

    def _locked(self, keys: Sequence[Any]) -> list[tuple[Any, str, int, int]]:
        test, values = among(self._connection, f"r.{self._pk}", keys)
        # A late entry at the very instant of the last event may be at that of a decay.
        later = ">" if self.told.at is None else ">="
        dues = [f"r.{self._column(f.due_name)} < %s" for f in self.command.subject.fields]
        doubts = " OR ".join(["r.stock_lifecycle IS NULL", f"r.stock_changed_at {later} %s", *dues])
        lock = " FOR NO KEY UPDATE" if self._connection.vendor == "postgresql" else ""
        sql = (
            f"SELECT r.{self._pk}, r.{self._column(self.command.field.name)}, "
            f"CASE WHEN {doubts} THEN 1 ELSE 0 END, "
            f"CASE WHEN r.{self._column(self.command.field.due_name)} IS NULL THEN 0 ELSE 1 END "
            f"FROM {self._table} r WHERE {test} ORDER BY r.{self._pk}{lock}"
        )
        at = self._instant(self.at)
        with self._connection.cursor() as cursor:
            cursor.execute(sql, [at, *[at] * len(dues), *values])
            found: list[tuple[Any, str, int, int]] = cursor.fetchall()
        return found

    def move(self, groups: dict[str, list[Any]], timed: set[Any]) -> int:
        """Append the events, then update the rows, then their timers; return how many moved."""
        for target, keys in groups.items():
            first = earliest(self._decays(target), self.at, None)
            self._run(self._events(target), keys, len(keys))
            ending = [key for key in keys if key in timed] if first is None and timed else []
            if ending:
                self._execute(*self._ending(), ending)
            self._run(self._rows(target, first and first[1]), keys, len(keys))
            if first is not None:
                self._execute(*self._starting(*first), keys)
        return sum(map(len, groups.values()))

    def _run(self, statement: Fragment, keys: Sequence[Any], expected: int) -> None:
        found = self._execute(*statement, keys)
        if found != expected:
            raise ConcurrentTransition(
                f"{expected - found} of {expected} rows of {self.command.model._meta.label} changed "
                "under the lock: is transaction_mode IMMEDIATE? Repeat the bulk transition."
            )

    def _execute(self, sql: str, values: Iterable[Any], keys: Sequence[Any]) -> int:
        test, chosen = among(self._connection, f"r.{self._pk}", keys)
        with self._connection.cursor() as cursor:
            cursor.execute(sql.replace("{keys}", test), [*values, *chosen])
            return int(cursor.rowcount)

    def _events(self, target: str) -> Fragment:
        command, told = self.command, self.told
        join, join_values = last_join(self._connection, command.subject, command.field.name)
        clock, clock_values = clock_of(self._connection)
        payload, payload_values = payload_of(self._connection, told)
        sql = (
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation, payload) "
            f"SELECT '{STOCKFLOW}', {originator_of(self._connection)}, r.stock_version + 1, %s, "
            f"COALESCE(l.model, %s), %s, %s, %s, r.{self._column(command.field.name)}, %s, "
            f"l.target_facets, {facets_sql(self._connection, command.subject, command.field.name)}, "
            f"%s, {clock}, %s, %s, %s, {payload} "
            f"FROM {self._table} r{join} WHERE {{keys}} ORDER BY r.{self._pk}"
        )
        values: list[Any] = [
            TOPICS[Kind.MOVED],
            command.model._meta.label_lower,
            command.field.name,
        ]
        values += [Kind.MOVED.value, command.name, target, to_micros(self.at), *clock_values]
        return sql, (
            *values,
            told.actor,
            told.reason,
            told.correlation,
            *payload_values,
            *join_values,
        )

    def _rows(self, target: str, due_at: datetime | None) -> Fragment:
        field = self.command.field
        sets = {
            self._column(field.name): target,
            self._column(field.since_name): self._instant(self.at),
            self._column(field.due_name): self._instant(due_at),
            self._column("stock_changed_at"): self._instant(self.at),
        }
        for clocked, value in clocked_values(self.command.model).items():
            stored = clocked.get_db_prep_save(value, self._connection)
            sets[self._quote(clocked.column)] = stored
        to = ", ".join(f"{column} = %s" for column in sets)
        sql = f"UPDATE {self._table} AS r SET stock_version = r.stock_version + 1, {to}"
        return f"{sql} WHERE {{keys}}", tuple(sets.values())

    def _starting(self, decay: Decay, due_at: datetime) -> Fragment:
        values = (self.command.model._meta.label_lower, self.command.field.name)
        sql = (
            "INSERT INTO stockflow_scheduledtransition "
            "(lifecycle, model, field, version, transition, due_at, attempts, error) "
            "SELECT r.stock_lifecycle, %s, %s, r.stock_version, %s, %s, 0, '' "
            f"FROM {self._table} r WHERE {{keys}} ORDER BY r.{self._pk}{timers.RESTART}"
        )
        return sql, (*values, decay.transition, to_micros(due_at))

    def _ending(self) -> Fragment:
        chosen = f"SELECT r.stock_lifecycle FROM {self._table} r WHERE {{keys}}"
        # As an array it is looked up by index, whatever the statistics say.
        is_postgresql = self._connection.vendor == "postgresql"
        found = f"= ANY(ARRAY({chosen}))" if is_postgresql else f"IN ({chosen})"
        sql = f"DELETE FROM stockflow_scheduledtransition WHERE field = %s AND lifecycle {found}"
        return sql, (self.command.field.name,)

"""The fence while tables change: what ``migrate`` does to it, and what it does afterwards."""

import re
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from stockflow.eventstore import guards
from stockflow.eventstore.sequencer import enlist
from stockflow.fence import comparing, installing, postgresql
from stockflow.tables import Unsequenced

_DEFINING = ("CREATE ", "ALTER ", "DROP ")
_WRITING = ("INSERT ", "UPDATE ", "DELETE ", "REPLACE ")
_RENAMING = re.compile(r'ALTER TABLE ("[^"]+") RENAME (?:COLUMN ("[^"]+") )?TO ("[^"]+")')
_DROPPING = re.compile(r'ALTER TABLE ("[^"]+") DROP COLUMN ("[^"]+")')
_SHOWN = 10


def before(using: str, plan: Any = (), **kwargs: Any) -> None:
    """``pre_migrate``: from here on the fence yields to the remaking of tables."""
    wrappers = connections[using].execute_wrappers
    if plan and connections[using].vendor in _WRAPPERS:
        wrappers.append(_WRAPPERS[connections[using].vendor](using))


def after(using: str, plan: Any = (), **kwargs: Any) -> None:
    """``post_migrate``: the fence stands as the models say now, and rows agree with their log.

    The log's own triggers are made again where they are gone. Events that a restore left
    without a pending row get it.

    Raises:
        CommandError: If a migration left rows that their log does not know so.
    """
    wrappers = connections[using].execute_wrappers
    wrappers[:] = [wrapper for wrapper in wrappers if not isinstance(wrapper, Yielding | Following)]
    installing.install(using)
    guards.restore(using)
    if Unsequenced._meta.db_table in connections[using].introspection.table_names():
        enlist(using)
    if plan:
        _refuse_drift(using, {migration.app_label for migration, _ in plan})


def _refuse_drift(using: str, apps: set[str]) -> None:
    found = comparing.first(using, _SHOWN, apps)
    if found:
        lines = "\n".join(f"  {difference}" for difference in found)
        raise CommandError(
            "The migrations are done, but rows disagree with their last event, the first of them:\n"
            f"{lines}\n`manage.py stockflow reconcile` shows them all; with --apply it records them."
        )


class Yielding:
    """Takes the fence down before a statement that defines tables, and up before one that writes.

    SQLite drops a remade table's triggers unseen, and refuses to rename a table while a
    trigger of another one names it. A migration that writes rows still meets the fence,
    wherever a table has all the columns that it speaks of.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.standing: str | None = None

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql).lstrip().upper()
        if text.startswith(_DEFINING):
            self._apart(self._go_down)
        elif text.startswith(_WRITING):
            self._apart(self._come_up)
        return execute(sql, params, many, context)

    def _apart(self, does: Callable[[], None]) -> None:
        wrappers = connections[self.using].execute_wrappers
        wrappers.remove(self)  # its own statements are none of its business
        try:
            does()
        finally:
            wrappers.append(self)

    def _go_down(self) -> None:
        self.standing = None
        installing.take_down(self.using)

    def _come_up(self) -> None:
        """Ask for one trigger each time: a rollback may have taken them all."""
        if self.standing is None or (self.standing and not self._stands(self.standing)):
            installing.install(self.using)
            self.standing = next(iter(installing.installed(self.using)), "")

    def _stands(self, name: str) -> bool:
        with connections[self.using].cursor() as cursor:
            cursor.execute("SELECT 1 FROM sqlite_master WHERE name = %s", [name])
            return cursor.fetchone() is not None


class Following:
    """On PostgreSQL the fence stays, and is told the new names of what it speaks of.

    Its functions are texts: the database does not rename in them what it renames. Where a
    column goes, what is said of it goes too: the models' fence if it fits already, else none
    for that table until ``post_migrate``.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        for text in str(sql).split(";"):
            if renamed := _RENAMING.search(text):
                self._rename(*renamed.groups())
            elif dropped := _DROPPING.search(text):
                self._drop(*dropped.groups())
        return done

    def _rename(self, table: str, column: str | None, name: str) -> None:
        for trigger, (there, body) in installing.installed(self.using).items():
            mentions = f'"{there}"' == table or table in body
            if mentions and (column or table) in body:
                self._run(postgresql.replace_body(trigger, body.replace(column or table, name)))

    def _drop(self, table: str, column: str) -> None:
        standing = installing.installed(self.using)
        should = installing.wanted(self.using)
        for trigger, (there, body) in standing.items():
            if f'"{there}"' == table and column in body:
                fits = trigger in should
                self._run(
                    postgresql.replace_body(trigger, should[trigger].body)
                    if fits
                    else postgresql.drop(trigger)
                )

    def _run(self, statement: str) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement)


_WRAPPERS: dict[str, type[Yielding] | type[Following]] = {
    "sqlite": Yielding,
    "postgresql": Following,
}

"""The fence while tables change: what ``migrate`` does to it, and what it does afterwards."""

from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from stockflow.fence import comparing, installing

_DEFINING = ("CREATE ", "ALTER ", "DROP ")
_WRITING = ("INSERT ", "UPDATE ", "DELETE ", "REPLACE ")
_SHOWN = 10


def before(using: str, plan: Any = (), **kwargs: Any) -> None:
    """``pre_migrate``: from here on the fence yields to the remaking of tables."""
    wrappers = connections[using].execute_wrappers
    if plan and connections[using].vendor == "sqlite":
        wrappers.append(Yielding(using))


def after(using: str, plan: Any = (), **kwargs: Any) -> None:
    """``post_migrate``: the fence stands as the models say now, and rows agree with their log.

    Raises:
        CommandError: If a migration left rows that their log does not know so.
    """
    wrappers = connections[using].execute_wrappers
    wrappers[:] = [wrapper for wrapper in wrappers if not isinstance(wrapper, Yielding)]
    installing.install(using)
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
        self.is_up = True

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql).lstrip().upper()
        if self.is_up and text.startswith(_DEFINING):
            self._turn(up=False)
        elif not self.is_up and text.startswith(_WRITING):
            self._turn(up=True)
        return execute(sql, params, many, context)

    def _turn(self, *, up: bool) -> None:
        self.is_up = up
        wrappers = connections[self.using].execute_wrappers
        wrappers.remove(self)  # its own statements are none of its business
        try:
            if up:
                installing.install(self.using)
            else:
                installing.take_down(self.using)
        finally:
            wrappers.append(self)

"""The triggers on the log's own tables: what is recorded is never altered, and gets its position."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

_FOLDER = Path(__file__).parent / "sql"


def script(name: str) -> list[str]:
    """Return the statements of the SQL file *name*; a blank line parts them."""
    path = _FOLDER / f"{name}.sql"
    return path.read_text(encoding="utf-8").strip().split("\n\n") if path.exists() else []


class InstallTriggers(Operation):
    """Make the triggers of the log's tables, where the database is one that stockflow knows."""

    reduces_to_sql = True
    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models stay as they are."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        _run(app_label, schema_editor, schema_editor.connection.vendor)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        # SQLite drops triggers with their table.
        _run(app_label, schema_editor, f"{schema_editor.connection.vendor}_reverse")

    def describe(self) -> str:
        return "Install the triggers of the log"


def _run(app_label: str, schema_editor: Any, name: str) -> None:
    if router.allow_migrate(schema_editor.connection.alias, app_label):
        for statement in script(name):
            schema_editor.execute(statement, params=None)


@contextmanager
def lifted_by_flush(connection: Any) -> Iterator[None]:
    """Let ``flush`` empty the tables: its statements lift the triggers and put them back.

    It runs them in one transaction, so nobody else meets a table without its triggers. All
    triggers whose names begin with ``stockflow`` are lifted, on whatever table.
    """
    plain = connection.ops.sql_flush

    def sql_flush(style: Any, tables: Any, **options: Any) -> list[str]:
        lift, restore = lifting(connection, set(tables))
        return [*lift, *plain(style, tables, **options), *restore]

    connection.ops.sql_flush = sql_flush
    try:
        yield
    finally:
        del connection.ops.sql_flush


def lifting(connection: Any, tables: set[str]) -> tuple[list[str], list[str]]:
    """Return the statements that lift the triggers of *tables*, and those that restore them."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "WHERE starts_with(t.tgname, 'stockflow') AND pg_table_is_visible(c.oid) "
                "AND t.tgenabled <> 'D' AND NOT t.tgisinternal"
            )
            found = [(quote(t), quote(n)) for t, n in cursor.fetchall() if t in tables]
            return (
                [f"ALTER TABLE {table} DISABLE TRIGGER {name}" for table, name in found],
                [f"ALTER TABLE {table} ENABLE TRIGGER {name}" for table, name in found],
            )
        cursor.execute(
            "SELECT tbl_name, name, sql FROM sqlite_master "
            "WHERE type = 'trigger' AND substr(name, 1, 9) = 'stockflow'"
        )
        made = [(quote(n), sql) for t, n, sql in cursor.fetchall() if t in tables]
        return [f"DROP TRIGGER {name}" for name, _ in made], [sql for _, sql in made]

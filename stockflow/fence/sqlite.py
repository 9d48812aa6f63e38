"""The fence on SQLite: triggers for each row."""

from typing import Any

from stockflow.fence import texts
from stockflow.fence.sql import (
    Dialect,
    disagreement,
    last_event,
    open_field,
    plainly_recorded,
    readers,
    related_columns,
    unrecorded_relation,
)
from stockflow.fence.subjects import Fenced
from stockflow.fence.triggers import PREFIX, Trigger
from stockflow.fence.uniqueness import Clashes

_SQL = Dialect("sqlite")


def triggers(fenced: Fenced, using: str) -> dict[str, str]:
    """Return the text of each trigger of the table, by operation."""
    found = {
        "insert": ("AFTER INSERT", _insert(fenced)),
        "update": ("AFTER UPDATE", _update(fenced)),
        "delete": ("BEFORE DELETE", _delete(fenced)),
    }
    clashes = Clashes(fenced, using)
    if clash := clashes.meets():
        found["replace"] = ("BEFORE INSERT", f"WHEN {clash} BEGIN {_raise(texts.replaced(fenced))}")
        # Named columns, so that a plain save does not pay for it.
        named = ", ".join(map(_SQL.quote, clashes.columns))
        clash = clashes.meets(but="x.rowid <> OLD.rowid")
        found["overwrite"] = (
            f"BEFORE UPDATE OF {named}",
            f"WHEN {clash} BEGIN {_raise(texts.replaced(fenced))}",
        )
    return {
        operation: f"{when} ON {_SQL.quote(fenced.table)} FOR EACH ROW {body}; END"
        for operation, (when, body) in found.items()
    }


def named(fenced: Fenced, using: str) -> set[str]:
    """Return the columns of the table that its triggers speak of."""
    return {*fenced.columns, *Clashes(fenced, using).columns}


def create(trigger: Trigger) -> str:
    """Return the statement that makes *trigger*; the database keeps it as it is."""
    return f"CREATE TRIGGER {_SQL.quote(trigger.name)} {trigger.body}"


def drop(name: str) -> str:
    """Return the statement that drops a trigger."""
    return f"DROP TRIGGER {_SQL.quote(name)}"


def installed(cursor: Any) -> dict[str, tuple[str, str]]:
    """Return table and text of each trigger of the fence that there is, by name."""
    cursor.execute(
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB %s",
        [f"{PREFIX}*"],
    )
    made = {name: (table, sql) for name, table, sql in cursor.fetchall()}
    return {
        name: (table, sql.removeprefix(f"CREATE TRIGGER {_SQL.quote(name)} "))
        for name, (table, sql) in made.items()
    }


def _raise(text: str) -> str:
    return f"SELECT RAISE(ABORT, '{text.replace(chr(39), chr(39) * 2)}')"


def _with_root(fenced: Fenced, row: str, condition: str) -> str:
    """Return *condition* as asked of the root ``r`` of a child's *row*."""
    root, key = fenced.root._meta, fenced.root._meta.pk.column
    return (
        f"EXISTS (SELECT 1 FROM {_SQL.quote(root.db_table)} r "
        f"WHERE r.{_SQL.quote(key)} = {row}.{_SQL.quote(fenced.key)} AND {condition})"
    )


def _insert(fenced: Fenced) -> str:
    if fenced.is_root:
        wrong = f"NEW.stock_lifecycle IS NULL OR {disagreement(_SQL, fenced, 'NEW', 'NEW')}"
        if plainly := plainly_recorded(_SQL, fenced, "NEW"):
            wrong = f"NOT {plainly} AND ({wrong})"
    else:
        told = disagreement(_SQL, fenced, "NEW", "r")
        wrong = "NOT " + _with_root(fenced, "NEW", f"(r.stock_lifecycle IS NULL OR NOT ({told}))")
    return f"WHEN {wrong} BEGIN {_raise(texts.inserted(fenced))}"


def _update(fenced: Fenced) -> str:
    changed = _changed(fenced, fenced.columns)
    if fenced.is_root:
        unlinked = (
            "OLD.stock_lifecycle IS NOT NULL AND NEW.stock_lifecycle IS NOT OLD.stock_lifecycle"
        )
        unlinked = f"{_raise(texts.unlinked(fenced))} WHERE {unlinked}; "
        wrong = _wrong_root(fenced)
        if plainly := plainly_recorded(_SQL, fenced, "NEW"):
            changed = f"({changed}) AND NOT ({_is_risen(fenced)} AND {plainly})"
    else:
        unlinked, wrong = "", _wrong_child(fenced)
    return f"WHEN {changed} BEGIN {unlinked}{_raise(texts.changed(fenced))} WHERE {wrong}"


def _is_risen(fenced: Fenced) -> str:
    """Return when a row is the same object's at a later version. It is never NULL."""
    same = " AND ".join(f"NEW.{c} IS OLD.{c}" for c in (_SQL.quote(fenced.key), "stock_lifecycle"))
    return f"{same} AND NEW.stock_version > OLD.stock_version"


def _changed(fenced: Fenced, columns: Any) -> str:
    return " OR ".join(
        f"{_SQL.exact(fenced, c, 'NEW')} IS NOT {_SQL.exact(fenced, c, 'OLD')}" for c in columns
    )


def _wrong_root(fenced: Fenced) -> str:
    told = [
        f"NEW.stock_lifecycle IS NULL AND ({_changed(fenced, ('stock_version', *fenced.states))})",
        f"NEW.stock_lifecycle IS NOT NULL AND ({disagreement(_SQL, fenced, 'NEW', 'NEW', is_leaving=True)})",
    ]
    told += [
        f"NEW.stock_lifecycle IS NOT NULL AND {_changed(fenced, (column,))} "
        f"AND ({' OR '.join(_stands_still(name) for name in readers(fenced, column))})"
        for column in related_columns(fenced)
    ]
    return " OR ".join(told)


def _stands_still(field: str) -> str:
    """Return when nothing was recorded of an open *field* since the row's old version."""
    last = last_event(_SQL, "NEW.stock_lifecycle", field)
    late = "e.target IS NOT NULL AND e.version <= OLD.stock_version"
    return f"EXISTS (SELECT 1 FROM ({last}) e WHERE {late})"


def _wrong_child(fenced: Fenced) -> str:
    told = [
        f"r.stock_lifecycle IS NOT NULL AND ({disagreement(_SQL, fenced, 'NEW', 'r', is_leaving=True)})",
    ]
    if fenced.states:
        told.append(f"r.stock_lifecycle IS NULL AND ({_changed(fenced, fenced.states)})")
    told += [
        f"r.stock_lifecycle IS NOT NULL AND {_changed(fenced, (column,))} "
        f"AND ({unrecorded_relation(_SQL, fenced, column, 'NEW', 'r')})"
        for column in related_columns(fenced)
    ]
    return _with_root(fenced, "NEW", f"({' OR '.join(told)})")


def _delete(fenced: Fenced) -> str:
    if fenced.is_root:
        wrong = f"OLD.stock_lifecycle IS NOT NULL AND ({open_field(_SQL, fenced, 'OLD')})"
    else:
        told = f"r.stock_lifecycle IS NOT NULL AND ({open_field(_SQL, fenced, 'r')})"
        wrong = _with_root(fenced, "OLD", told)
    return f"WHEN {wrong} BEGIN {_raise(texts.deleted(fenced))}"

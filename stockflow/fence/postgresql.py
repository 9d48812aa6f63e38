"""The fence on PostgreSQL: one trigger per statement, over its transition tables.

Neither ``WHEN`` nor a list of columns: these would forbid ``ALTER TYPE``. Set operations
instead of joins of old and new: a plan that was made for one row is kept, and must serve a
million.
"""

from collections.abc import Iterable
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

_SQL = Dialect("postgresql")
_OLD, _NEW = "stockflow_old", "stockflow_new"
_WATCHED = {
    "insert": f"AFTER INSERT ON {{}} REFERENCING NEW TABLE AS {_NEW}",
    "update": f"AFTER UPDATE ON {{}} REFERENCING OLD TABLE AS {_OLD} NEW TABLE AS {_NEW}",
    "delete": f"AFTER DELETE ON {{}} REFERENCING OLD TABLE AS {_OLD}",
    "truncate": "BEFORE TRUNCATE ON {}",
}


def triggers(fenced: Fenced, using: str) -> dict[str, str]:
    """Return the body of each trigger's function, by operation."""
    found = {
        "insert": _refuse(_inserted(fenced), texts.inserted(fenced)),
        "update": _update(fenced),
        "delete": _refuse(_deleted(fenced), texts.deleted(fenced)),
        "truncate": f"  {_raise(texts.truncated(fenced))}",
    }
    return {
        operation: f"\nBEGIN\n{body}\n  RETURN NULL;\nEND\n" for operation, body in found.items()
    }


def named(fenced: Fenced, using: str) -> set[str]:
    """Return the columns of the table that its triggers speak of."""
    return set(fenced.columns)


def create(trigger: Trigger) -> str:
    """Return the statements that make *trigger* and its function."""
    name, table = _SQL.quote(trigger.name), _SQL.quote(trigger.table)
    return (
        f"{replace_body(trigger.name, trigger.body)}; "
        f"DROP TRIGGER IF EXISTS {name} ON {table}; "
        f"CREATE TRIGGER {name} {_WATCHED[trigger.operation].format(table)} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    )


def replace_body(name: str, body: str) -> str:
    """Return the statement that makes or changes a trigger's function; the trigger stays."""
    return (
        f"CREATE OR REPLACE FUNCTION {_SQL.quote(name)}() RETURNS trigger LANGUAGE plpgsql "
        f"AS $stockflow${body}$stockflow$"
    )


def drop(name: str) -> str:
    """Return the statement that drops a trigger with its function."""
    return f"DROP FUNCTION {_SQL.quote(name)}() CASCADE"


def installed(cursor: Any) -> dict[str, tuple[str, str]]:
    """Return table and text of each trigger of the fence that is at work, by name.

    A function without its trigger, or with a disabled one, has no table.
    """
    cursor.execute(
        "SELECT p.proname, CASE WHEN t.tgenabled IN ('O', 'A') THEN c.relname ELSE '' END, p.prosrc "
        "FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal "
        "LEFT JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE p.proname ~ %s AND pg_function_is_visible(p.oid)",
        [f"^{PREFIX}"],
    )
    return {name: (table, body) for name, table, body in cursor.fetchall()}


def _raise(text: str) -> str:
    quoted = text.replace("'", "''").replace("%", "%%")
    return f"RAISE EXCEPTION '{quoted}' USING ERRCODE = 'integrity_constraint_violation';"


def _refuse(condition: str, text: str) -> str:
    return f"  IF {condition} THEN\n    {_raise(text)}\n  END IF;"


def _changes(fenced: Fenced, names: Iterable[str], where: str = "") -> str:
    columns = ", ".join(
        f"{_SQL.exact(fenced, name)} AS {_SQL.quote(name)}"
        if name in fenced.collated
        else _SQL.quote(name)
        for name in names
    )
    return f"SELECT {columns} FROM {_NEW}{where} EXCEPT SELECT {columns} FROM {_OLD}"


def _joined(fenced: Fenced, rows: str, kind: str = "") -> str:
    root, key = fenced.root._meta, fenced.root._meta.pk.column
    return (
        f"{rows} c {kind}JOIN {_SQL.quote(root.db_table)} r "
        f"ON r.{_SQL.quote(key)} = c.{_SQL.quote(fenced.key)}"
    )


def _inserted(fenced: Fenced) -> str:
    if fenced.is_root:
        told = f"c.stock_lifecycle IS NULL OR {disagreement(_SQL, fenced, 'c', 'c')}"
        if plainly := plainly_recorded(_SQL, fenced, "c"):
            told = f"NOT {plainly} AND ({told})"
        return f"EXISTS (SELECT 1 FROM {_NEW} c WHERE {told})"
    key = f"r.{_SQL.quote(fenced.root._meta.pk.column)}"
    told = f"r.stock_lifecycle IS NOT NULL AND ({disagreement(_SQL, fenced, 'c', 'r')})"
    return f"EXISTS (SELECT 1 FROM {_joined(fenced, _NEW, 'LEFT ')} WHERE {key} IS NULL OR {told})"


def _update(fenced: Fenced) -> str:
    text, parts = texts.changed(fenced), []
    if plainly := plainly_recorded(_SQL, fenced, "c"):
        astray = f"EXISTS (SELECT 1 FROM {_NEW} c WHERE NOT {plainly})"
        parts.append(
            f"  IF NOT (EXISTS ({_unrisen(fenced)}) OR {astray}) THEN RETURN NULL; END IF;"
        )
    parts.append(f"  IF NOT EXISTS ({_changes(fenced, fenced.columns)}) THEN RETURN NULL; END IF;")
    if fenced.is_root:
        parts += [_unlinked(fenced), _unadopted(fenced)]
    told = _wrong_root(fenced) if fenced.is_root else _wrong_child(fenced)
    parts += [_refuse(f"EXISTS ({query})", text) for query in told]
    if fenced.is_root:
        parts += [_unread(fenced, column) for column in related_columns(fenced)]
    return "\n".join(parts)


def _unrisen(fenced: Fenced) -> str:
    """Return the query of the rows that are not the same object's at a later version."""
    same = f"SELECT {_SQL.quote(fenced.key)}, stock_lifecycle,"
    return (
        f"SELECT 1 FROM ({same} stock_version AS v FROM {_NEW} "
        f"UNION ALL {same} -stock_version FROM {_OLD}) x GROUP BY {_SQL.quote(fenced.key)}, "
        "stock_lifecycle HAVING count(*) <> 2 OR sum(v) <= 0"
    )


def _parted(fenced: Fenced) -> str:
    """Return the query of the keys whose lifecycle is another one now."""
    key = _SQL.quote(fenced.key)
    return (
        f"SELECT {key}, stock_lifecycle FROM {_OLD} WHERE stock_lifecycle IS NOT NULL "
        f"EXCEPT SELECT {key}, stock_lifecycle FROM {_NEW}"
    )


def _guard(query: str, body: str) -> str:
    """Return *body*, to be planned and run only where *query* finds something, which is rare."""
    return f"  IF EXISTS ({query}) THEN\n{body}\n  END IF;"


def _unlinked(fenced: Fenced) -> str:
    """A lifecycle that is gone, or that another row has now; a changed key is no harm."""
    key, known = _SQL.quote(fenced.key), "WHERE stock_lifecycle IS NOT NULL"
    parted = _parted(fenced)
    wrong = (
        f"EXISTS (SELECT stock_lifecycle FROM {_OLD} {known} "
        f"EXCEPT SELECT stock_lifecycle FROM {_NEW})\n    OR EXISTS "
        f"((SELECT {key} FROM ({parted}) x) INTERSECT SELECT {key} FROM {_NEW})"
    )
    return _guard(parted, _refuse(wrong, texts.unlinked(fenced)))


def _unadopted(fenced: Fenced) -> str:
    unknown = " WHERE stock_lifecycle IS NULL"
    moved = _changes(fenced, (fenced.key, "stock_version", *fenced.states), unknown)
    body = _refuse(f"EXISTS ({moved})", texts.changed(fenced))
    return _guard(f"SELECT 1 FROM {_NEW}{unknown}", body)


def _wrong_root(fenced: Fenced) -> list[str]:
    differs = disagreement(_SQL, fenced, "c", "c", is_leaving=True)
    known = "c.stock_lifecycle IS NOT NULL"
    return [f"SELECT 1 FROM ({_changes(fenced, fenced.columns)}) c WHERE {known} AND ({differs})"]


def _unread(fenced: Fenced, column: str) -> str:
    """A changed foreign key: all open fields that read through it have events since the old version."""
    changed, refusals = _changes(fenced, ("stock_lifecycle", column)), []
    for name in readers(fenced, column):
        last = last_event(_SQL, "c.stock_lifecycle", name)
        wrong = (
            "SELECT 1 FROM (SELECT c.stock_lifecycle, (SELECT e.version FROM "
            f"({last}) e WHERE e.target IS NOT NULL) AS recorded_version, NULL::bigint AS old_version "
            f"FROM ({changed}) c WHERE c.stock_lifecycle IS NOT NULL "
            f"UNION ALL SELECT stock_lifecycle, NULL, stock_version FROM {_OLD}) x "
            "GROUP BY stock_lifecycle HAVING max(recorded_version) <= max(old_version)"
        )
        refusals.append(_refuse(f"EXISTS ({wrong})", texts.changed(fenced)))
    return _guard(changed, "\n".join(refusals))


def _wrong_child(fenced: Fenced) -> list[str]:
    rows = _joined(fenced, f"({_changes(fenced, fenced.columns)})")
    differs = disagreement(_SQL, fenced, "c", "r", is_leaving=True)
    known = "r.stock_lifecycle IS NOT NULL"
    told = [f"SELECT 1 FROM {rows} WHERE {known} AND ({differs})"]
    if fenced.states:
        moved = _joined(fenced, f"({_changes(fenced, (fenced.key, *fenced.states))})")
        told.append(f"SELECT 1 FROM {moved} WHERE r.stock_lifecycle IS NULL")
    for column in related_columns(fenced):
        related = _joined(fenced, f"({_changes(fenced, (fenced.key, column))})")
        wrong = unrecorded_relation(_SQL, fenced, column, "c", "r")
        told.append(f"SELECT 1 FROM {related} WHERE {known} AND ({wrong})")
    return told


def _deleted(fenced: Fenced) -> str:
    if fenced.is_root:
        told = open_field(_SQL, fenced, "c")
        return f"EXISTS (SELECT 1 FROM {_OLD} c WHERE c.stock_lifecycle IS NOT NULL AND ({told}))"
    told = open_field(_SQL, fenced, "r")
    rows = _joined(fenced, _OLD)
    return f"EXISTS (SELECT 1 FROM {rows} WHERE r.stock_lifecycle IS NOT NULL AND ({told}))"

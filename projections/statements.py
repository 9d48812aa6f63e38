"""Statements over the log that answer as of any state of knowledge, each with how far it holds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from django.db import NotSupportedError, connections

from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import from_micros, require_instant, to_micros

if TYPE_CHECKING:
    from stockflow.fields import StockReference

STOCKFLOW: Final = "stockflow"  # as ``stockflow.tables`` has it, which waits for the app registry
_ASKED: Final = {
    "postgresql": "asked(model, field) AS (SELECT * FROM unnest(%s::text[], %s::text[]))"
    ", states(name) AS (SELECT unnest(%s::text[]))",
    "sqlite": "asked(model, field) AS (SELECT a.value, b.value"
    " FROM json_each(%s) a JOIN json_each(%s) b ON a.key = b.key)"
    ", states(name) AS (SELECT value FROM json_each(%s))",
}
_LAST: Final = (
    "SELECT COALESCE((SELECT position FROM stockflow_position"
    f" WHERE application = '{STOCKFLOW}'{{}} ORDER BY position DESC LIMIT 1), 0)"
)
_POSITION: Final = (
    f" {{join}} stockflow_position p ON p.event = e.id AND p.application = '{STOCKFLOW}'"
    " AND p.position <= (SELECT position FROM known)"
)
# CROSS JOIN keeps the order of the loops on SQLite; PostgreSQL's has no condition.
_JOIN: Final = {"postgresql": "JOIN", "sqlite": "CROSS JOIN"}
_SETTLED: Final = """
SELECT answer.*, CAST(NULL AS bigint), CAST(NULL AS bigint) FROM answer
UNION ALL
SELECT {nulls}, min(t.due_at), (SELECT position FROM known)
FROM asked a JOIN stockflow_scheduledtransition t ON t.model = a.model AND t.field = a.field
WHERE t.parked_at IS NULL AND t.due_at <= {now}"""


class Known(TypedDict, total=False):
    """What the log may be asked with: as it was known, instead of as it is known now.

    Attributes:
        as_known_at: A position of the log: only events up to it count. Or an instant, which
            means the last position given by then.
        sequenced: Leave out what has no position yet, and say in the answer's *position* up to
            which it reaches: asked again as known at that position, it is the same for ever.
    """

    as_known_at: int | datetime | None
    sequenced: bool


class Holds(NamedTuple):
    """How far an answer holds: in time, and in the log where it was asked as known."""

    settled_until: datetime
    position: int | None


class Statement(NamedTuple):
    """SQL whose first column is never NULL, with ``{log}`` for the events asked about.

    Attributes:
        sql: The statement; *e* is an event. ``{log_by_time}`` are the same events, found by the
            index on when they occurred.
        values: What it binds.
        columns: How many columns it has.
        tables: Common table expressions that it reads.
        table_values: What those bind.
    """

    sql: str
    values: Sequence[Any]
    columns: int
    tables: Sequence[str] = ()
    table_values: Sequence[Any] = ()


def run(
    statement: Statement,
    references: Iterable["StockReference"],
    *,
    using: str,
    now: datetime,
    known: Known,
    states: Iterable[str] = (),
) -> tuple[list[tuple[Any, ...]], Holds]:
    """Run *statement* together with the question of how far it holds: one snapshot sees both.

    Raises:
        InvalidInstant: If the instant of *known* is naive or in the future, or its position
            below 0 or not given yet.
        TypeError: If *known* says something else.
    """
    check_keywords(known, Known)
    vendor = vendor_of(using)
    pairs = sorted({(model, asked.name) for asked in references for model in asked.model_labels})
    lists = [[model for model, _ in pairs], [field for _, field in pairs], sorted(states)]
    position = known_sql(known, now)
    join = _POSITION.format(join=_JOIN[vendor]) if position else ""
    tables = [
        _ASKED[vendor],
        f"known(position) AS ({position or 'SELECT CAST(NULL AS bigint)'})",
        *statement.tables,
        f"answer AS ({_over_log(statement.sql, vendor, join)})",
    ]
    nulls = ", ".join(["NULL"] * statement.columns)
    sql = f"WITH {', '.join(tables)}" + _SETTLED.format(nulls=nulls, now=to_micros(now))
    if known.get("sequenced"):
        _catch_up(using)
    asked = lists if vendor == "postgresql" else [json.dumps(one) for one in lists]
    found = _fetch(using, sql, [*asked, *statement.table_values, *statement.values])
    due, reached = next(row[-2:] for row in found if row[0] is None)
    rows = [row[:-2] for row in found if row[0] is not None]
    _require_given(known, reached, using)
    return rows, Holds(now if due is None else from_micros(due), reached)


def check_keywords(given: Mapping[str, Any], kind: Any) -> None:
    """Refuse keywords that a TypedDict does not have, since Python takes them all.

    A mistyped one would be left out, and something else than what was asked be answered.

    Raises:
        TypeError: If there is one, or one that must be given is missing.
    """
    taken = sorted(kind.__required_keys__ | kind.__optional_keys__)
    if unknown := sorted(given.keys() - taken):
        raise TypeError(
            f"Unexpected keyword argument {unknown[0]!r}: besides its own, this takes "
            f"{', '.join(taken)}."
        )
    if missing := sorted(kind.__required_keys__ - given.keys()):
        raise TypeError(f"Missing keyword argument {missing[0]!r}.")


def knows_all(known: Known) -> bool:
    """Whether nothing of the log is left out: what is not sequenced yet is known too."""
    return known.get("as_known_at") is None and not known.get("sequenced")


def known_sql(known: Known, now: datetime) -> str:
    """Return the statement of the last position that *known* knows; nothing where it knows all."""
    if knows_all(known):
        return ""
    at = known.get("as_known_at")
    if at is None:
        return _LAST.format("")
    if isinstance(at, int) and not isinstance(at, bool):
        if at < 0:
            raise InvalidInstant(f"as_known_at is {at}, but positions count from 1.")
        return f"SELECT CAST({at} AS bigint)"
    at = require_instant(at, "as_known_at")
    if at > now:
        raise InvalidInstant(
            f"as_known_at is {at.isoformat()}, but it is only {now.isoformat()}: "
            "nobody knows yet what will be known then."
        )
    return _LAST.format(f" AND sequenced_at <= {to_micros(at)}")


def vendor_of(using: str) -> str:
    """Return which of the two databases *using* is.

    Raises:
        NotSupportedError: If it is neither.
    """
    vendor: str = connections[using].vendor
    if vendor not in _ASKED:
        raise NotSupportedError(
            f"Database {using!r} is {vendor}: stockflow counts on SQLite and PostgreSQL only."
        )
    return vendor


def _over_log(sql: str, vendor: str, join: str) -> str:
    # SQLite may otherwise make an index of its own over the whole log, for each question.
    named = " INDEXED BY stockflow_event_occurred" if vendor == "sqlite" else ""
    log = "stockflow_event e{} ON e.model = a.model AND e.field = a.field" + join
    return sql.replace("{log_by_time}", log.format(named)).replace("{log}", log.format(""))


def _fetch(using: str, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, for which PostgreSQL compiles nothing.

    It cannot know that most of an answer's parts read little, and spent up to 5 s on compiling
    what then ran for 0.1 s. Sent with the statement, the setting takes no round trip and ends with
    the transaction; a server that binds the values takes one statement only.
    """
    connection = connections[using]
    is_alone = connection.vendor != "postgresql" or connection.settings_dict["OPTIONS"].get(
        "server_side_binding"
    )
    with connection.cursor() as cursor:
        if is_alone:
            cursor.execute(sql, values)
        else:
            cursor.execute(f"SET LOCAL jit = off; {sql}", values)
            cursor.nextset()
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _require_given(known: Known, reached: int | None, using: str) -> None:
    at = known.get("as_known_at")
    if not isinstance(at, int):
        return
    with connections[using].cursor() as cursor:
        cursor.execute(_LAST.format(""))
        last = cursor.fetchone()[0]
    if at > last:
        raise InvalidInstant(
            f"as_known_at is {at}, but the last position given is {last}: what such an answer "
            "says could still change."
        )


def _catch_up(using: str) -> None:
    """Give positions to what is committed, where a reader may: the answer is as new as it can be."""
    from stockflow.eventstore.sequencer import catch_up  # noqa: PLC0415  needs the app registry

    catch_up(using, STOCKFLOW)

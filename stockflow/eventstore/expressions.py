"""What the columns of an event hold, as expressions of SQL with their values."""

import time
from functools import lru_cache
from typing import Any

from django.db import connections, models

from stockflow.adapting import Adapter, adapter_of
from stockflow.contexts import Circumstances
from stockflow.domain.cells import encode_value
from stockflow.eventstore.payloads import payload_text
from stockflow.facets import FacetPath, Fragment
from stockflow.fields import facets_of
from stockflow.ledgers import Pending
from stockflow.subjects import Subject
from stockflow.tables import STOCKFLOW, Kind


def said_of(told: Circumstances) -> Fragment:
    """Return who and why, which most often is nothing."""
    values = told.actor, told.reason, told.correlation
    return ("%s, %s, %s", values) if any(values) else ("'', '', ''", ())


def clock_of(connection: Any) -> Fragment:
    """Return the database's clock as an expression: microseconds since 1970, once per statement."""
    if connection.vendor == "postgresql":
        return "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)", ()
    return "%s", (time.time_ns() // 1000,)  # an embedded database has this machine's clock


def payload_of(
    connection: Any, told: Circumstances, key: str | None = None, clock: Fragment | None = None
) -> Fragment:
    """Return what an event keeps beside its columns, as an expression of bytes.

    *clock* is the expression of the version that set a decay's clock.
    """
    is_postgresql = connection.vendor == "postgresql"
    text = payload_text(told, key, "null" if clock is None else "\0")
    if text is None:
        return "NULL::bytea" if is_postgresql else "NULL", ()
    if clock is None:
        return "%s::bytea" if is_postgresql else "%s", (text.encode(),)
    head, rest = text.split("\0")
    joined = f"%s || COALESCE(CAST({clock[0]} AS TEXT), 'null') || %s"
    return bytes_of(connection, joined), (head, *clock[1], rest)


def bytes_of(connection: Any, text: str) -> str:
    """Return the expression of a *text* as UTF-8."""
    is_postgresql = connection.vendor == "postgresql"
    return f"convert_to({text}, 'UTF8')" if is_postgresql else f"CAST({text} AS BLOB)"


def last_facets(originator: str, field: str) -> Fragment:
    """Return the facets that the log has, which may lag behind what a relation shows now."""
    last = (
        "(SELECT x.target_facets FROM stockflow_event x WHERE "
        f"x.application = '{STOCKFLOW}' AND x.originator = %s AND x.field = %s "
        "ORDER BY x.version DESC LIMIT 1)"
    )
    return last, (originator, field)


def target_facets(connection: Any, subject: Subject, event: Pending, source: Fragment) -> Fragment:
    """Return the canonical text of the event's facets; related ones are read in SQL.

    Those that are fixed at entry are taken from *source* where the state is not entered.
    """
    paths = subject.facets(event.field)
    if not paths:
        return "'{}'", ()
    is_kept = event.kind is Kind.RECLASSIFIED
    text, pieces, values = "{", list[str](), list[Any]()
    for name, path in _named(subject.model, event.field):
        text += name
        given = event.facets[path.attname]
        if (path.is_own or given is None) and not (is_kept and path.is_fixed):
            text += f"{encode_value(path.to_json(given))},"
            continue
        related, adapt = _related(connection.alias, path)
        found: Fragment = related, (adapt(given, connection),)
        if is_kept and path.is_fixed:
            found = path.kept_sql(connection.vendor, source, found)
        pieces += ["%s", found[0]]
        values += [text, *found[1]]
        text = ","
    text = f"{text.removesuffix(',')}}}"
    if not pieces:
        return "%s", (text,)
    return f"({' || '.join(pieces)} || %s)", (*values, text)


@lru_cache(maxsize=1024)
def _named(model: type[models.Model], field: str) -> list[tuple[str, FacetPath]]:
    """Return the facets in the order of the canonical text, and what stands there before each."""
    paths = facets_of(model, field)
    return [(f"{encode_value(lookup)}:", path) for lookup, path in sorted(paths.items())]


@lru_cache(maxsize=1024)
def _related(using: str, path: FacetPath) -> tuple[str, Adapter]:
    connection = connections[using]
    sql = path.sql(connection.vendor, connection.ops.quote_name)
    return sql, adapter_of(path.first, connection.vendor)

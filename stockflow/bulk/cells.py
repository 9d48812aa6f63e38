"""Facets of many rows: as texts that Python puts together, or as one expression of SQL."""

from collections.abc import Iterable
from typing import Any

from stockflow.domain.cells import decode_facets, encode_value
from stockflow.ledgers import Pending
from stockflow.rows import among, array_type
from stockflow.subjects import Subject
from stockflow.tables import Kind


class FacetTexts:
    """The canonical texts of the facets of *events*; what lies behind relations is read once."""

    def __init__(self, connection: Any, subject: Subject, events: Iterable[Pending]) -> None:
        self._paths = {f.name: sorted(subject.facets(f.name).items()) for f in subject.fields}
        self._known: dict[tuple[Any, ...], str] = {}
        self._related: dict[tuple[str, Any], str] = {}
        events = list(events)
        for path in {p for paths in self._paths.values() for _, p in paths if not p.is_own}:
            keys = {event.facets[path.attname] for event in events} - {None}
            self._read(connection, path, list(keys))

    def _read(self, connection: Any, path: Any, keys: list[Any]) -> None:
        if not keys:
            return
        stored = {path.first.get_db_prep_value(k, connection, prepared=False): k for k in keys}
        _, values = among(connection, "", list(stored))
        source = "json_each(%s) v"
        if connection.vendor == "postgresql":
            source = f"unnest(%s::{array_type(connection, path.first)}[]) AS v(value)"
        value = path.sql(connection.vendor, connection.ops.quote_name, "v.value")
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT v.value, {value} FROM {source}", values)
            for key, text in cursor.fetchall():
                self._related[path.lookup, stored[key]] = text

    def of(self, event: Pending, before: str | None) -> str:
        """Return the text for *event*, whose object had the facets *before*."""
        paths = self._paths[event.field]
        kept = (
            before
            if event.kind is Kind.RECLASSIFIED and any(p.is_fixed for _, p in paths)
            else None
        )
        key = event.field, kept, *(event.facets[path.attname] for _, path in paths)
        if key not in self._known:
            earlier = decode_facets(kept)
            pieces = (
                f"{encode_value(lookup)}:"
                + (
                    encode_value(earlier[lookup])
                    if path.is_fixed and lookup in earlier
                    else self._text(path, event.facets[path.attname])
                )
                for lookup, path in paths
            )
            self._known[key] = f"{{{','.join(pieces)}}}"
        return self._known[key]

    def _text(self, path: Any, value: Any) -> str:
        if path.is_own or value is None:
            return encode_value(path.to_json(value))
        return self._related[path.lookup, value]


def tables_sql(connection: Any, subject: Subject) -> str:
    """Return the table ``r`` of *subject*, joined to the others that have columns of it."""
    quote, table = connection.ops.quote_name, subject.table._meta
    sql = f"{quote(table.db_table)} r"
    for model, alias in _aliases(subject).items():
        if alias == "r":
            continue
        if issubclass(model, subject.table):
            link: Any = model._meta.get_ancestor_link(subject.table)
            on = f"{alias}.{quote(link.column)} = r.{quote(table.pk.column)}"
        else:
            link = table.get_ancestor_link(model)
            on = f"{alias}.{quote(model._meta.pk.column)} = r.{quote(link.column)}"
        sql += f" JOIN {quote(model._meta.db_table)} {alias} ON {on}"
    return sql


def _aliases(subject: Subject) -> dict[Any, str]:
    models = {column.model: None for column in subject.facet_columns.values()}
    others = [model for model in models if model is not subject.table]
    return {subject.table: "r"} | {model: f"t{n}" for n, model in enumerate(others)}


def column_sql(connection: Any, subject: Subject, path: Any) -> str:
    """Return the column that the facet *path* hangs on, its table joined as above."""
    quote = connection.ops.quote_name
    return f"{_aliases(subject)[path.first.model]}.{quote(path.first.column)}"


def facets_sql(connection: Any, subject: Subject, field: str, *, keep: bool = False) -> str:
    """Return the expression of the facets of row ``r``, its tables joined as above.

    With *keep*, those that are fixed at entry are taken from the event ``l``.
    """
    quote, vendor, pieces = connection.ops.quote_name, connection.vendor, []
    for n, (lookup, path) in enumerate(sorted(subject.facets(field).items())):
        column = column_sql(connection, subject, path)
        if path.is_own:
            value = f"COALESCE({path.codec.sql(vendor, column)}, 'null')"
        else:
            value = path.sql(vendor, quote, column)
        if keep and path.is_fixed:
            value, _ = path.kept_sql(vendor, ("l.target_facets", ()), (value, ()))
        pieces.append(f"'{',' if n else '{'}{encode_value(lookup)}:' || {value}")
    return " || ".join([*pieces, "'}'"]) if pieces else "'{}'"

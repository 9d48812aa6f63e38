"""The sentences of the fence that both databases share: when a row and its log disagree."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connections

from stockflow.facets import FacetPath
from stockflow.fence.subjects import Fenced
from stockflow.tables import STOCKFLOW

_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


@dataclass(frozen=True)
class Dialect:
    """How one database says it."""

    vendor: str

    @property
    def differs(self) -> str:
        """The comparison for which NULL is a value."""
        return "IS DISTINCT FROM" if self.vendor == "postgresql" else "IS NOT"

    def quote(self, name: str | None) -> str:
        """Return *name* as an identifier."""
        return f'"{name}"'

    def exact(self, fenced: Fenced, column: str | None, row: str = "") -> str:
        """Return a *column*, of *row* if given, to be compared letter by letter as the log is."""
        value = f"{row}.{self.quote(column)}" if row else self.quote(column)
        if column not in fenced.collated:
            return value
        return f"{value} COLLATE {'BINARY' if self.vendor == 'sqlite' else self.quote('C')}"

    def originator(self, lifecycle: str) -> str:
        """Return the expression of the log's name of a row's *lifecycle*."""
        if self.vendor == "postgresql":
            return f"{lifecycle}::text"
        return " || '-' || ".join(f"substr({lifecycle}, {at}, {n})" for at, n in _UUID_PARTS)

    def facet(self, path: FacetPath, value: str) -> str:
        """Return the expression of JSON text of the column *value*."""
        return f"COALESCE({path.codec.sql(self.vendor, value)}, 'null')"

    def has(self, text: str, part: str) -> str:
        """Return the test that *text* contains *part*."""
        return f"{'strpos' if self.vendor == 'postgresql' else 'instr'}({text}, {part}) > 0"

    def recorded(self, path: FacetPath) -> str:
        """Return the expression of JSON text that the event ``e`` has; NULL if it has none."""
        if self.vendor == "postgresql":
            return f"(e.target_facets::json -> '{path.lookup}')::text"
        return f"(e.target_facets -> '$.{path.lookup}')"


def dialect_of(using: str) -> Dialect:
    """Return how the database *using* says it."""
    return Dialect(connections[using].vendor)


def last_event(dialect: Dialect, lifecycle: str, field: str | None = None) -> str:
    """Return the query of a lifecycle's last event, or the last one of *field*."""
    chosen = "" if field is None else f" AND field = '{field}'"
    return (
        "SELECT version, field, target, target_facets FROM stockflow_event "
        f"WHERE application = '{STOCKFLOW}' AND originator = {dialect.originator(lifecycle)}{chosen} "
        "ORDER BY version DESC LIMIT 1"
    )


def disagreement(
    dialect: Dialect, fenced: Fenced, row: str, root: str, *, is_leaving: bool = False
) -> str:
    """Return when the *row* of a table says other than the log of its *root*'s lifecycle.

    A facet that was declared after the last event is not in it, and nothing is known of it.
    Where the row *is_leaving*, a closed field agrees: its row goes next.
    """
    target = "COALESCE(e.target, {0}) = {0}" if is_leaving else "e.target = {0}"
    lifecycle = f"{root}.stock_lifecycle"
    told = []
    if fenced.is_root:
        told.append(
            f"{row}.stock_version {dialect.differs} "
            f"(SELECT e.version FROM ({last_event(dialect, lifecycle)}) e)"
        )
    told += [
        f"NOT EXISTS (SELECT 1 FROM ({last_event(dialect, lifecycle, field.name)}) e WHERE "
        + " AND ".join(
            [
                target.format(dialect.exact(fenced, field.column, row)),
                *agreements(dialect, row, fenced.own(field.name)),
            ]
        )
        + ")"
        for field in fenced.fields
    ]
    return " OR ".join(told + _of_children(dialect, fenced, row, lifecycle)) or "1 = 0"


def agreements(dialect: Dialect, row: str, paths: Iterable[FacetPath]) -> list[str]:
    """Return when the event ``e`` has the facets that the *row* has in its own columns."""
    found = []
    for path in paths:
        value = dialect.facet(path, f"{row}.{dialect.quote(path.first.column)}")
        found.append(f"COALESCE({dialect.recorded(path)}, {value}) = {value}")
    return found


def plainly_recorded(dialect: Dialect, fenced: Fenced, row: str) -> str:
    """Return when the *row* is plainly as the last event of its lifecycle says; "" if never.

    That is the ordinary save, found by one look at the log, and without reading JSON: in the
    canonical text of facets each stands between its name and the next comma or the end, and
    no value can look like that, since its quotes are escaped. All else is looked at closely.
    """
    names = {field.name for field in fenced.fields}
    if not fenced.is_root or len(names) != 1 or not names.issuperset(fenced.facets):
        return ""
    (field,) = fenced.fields
    tests = [
        f"e.version = {row}.stock_version",
        f"e.field = '{field.name}'",
        f"e.target = {dialect.exact(fenced, field.column, row)}",
    ]
    last = max((path.lookup for path in fenced.facets.get(field.name, ())), default="")
    for path in fenced.own(field.name):
        value = dialect.facet(path, f"{row}.{dialect.quote(path.first.column)}")
        end = "}" if path.lookup == last else ","
        tests.append(
            dialect.has("e.target_facets", f"""'"{path.lookup}":' || {value} || '{end}'""")
        )
    events = last_event(dialect, f"{row}.stock_lifecycle")
    return f"EXISTS (SELECT 1 FROM ({events}) e WHERE {' AND '.join(tests)})"


def _of_children(dialect: Dialect, fenced: Fenced, row: str, lifecycle: str) -> list[str]:
    """A child's field may be split by a parent's column: compared where the object is such a child."""
    local = {field.name for field in fenced.fields}
    return [
        f"EXISTS (SELECT 1 FROM ({last_event(dialect, lifecycle, name)}) e "
        f"WHERE e.target IS NOT NULL AND NOT ({' AND '.join(told)}))"
        for name in fenced.facets
        if name not in local and (told := agreements(dialect, row, fenced.own(name)))
    ]


def open_field(dialect: Dialect, fenced: Fenced, root: str) -> str:
    """Return when a field of a row that goes has no closing event."""
    lifecycle = f"{root}.stock_lifecycle"
    names = fenced.field_names if fenced.is_root else [field.name for field in fenced.fields]
    return (
        " OR ".join(
            f"(SELECT e.target FROM ({last_event(dialect, lifecycle, name)}) e) IS NOT NULL"
            for name in names
        )
        or "1 = 0"
    )


def related_columns(fenced: Fenced) -> dict[str, list[tuple[str, FacetPath]]]:
    """Return the foreign keys of the table that facets are read through, with who reads them."""
    found: dict[str, list[tuple[str, FacetPath]]] = {}
    for name in fenced.facets:
        for path in fenced.related(name):
            found.setdefault(str(path.first.column), []).append((name, path))
    return found


def readers(fenced: Fenced, column: str) -> list[str]:
    """Return the stock fields that read a facet through the foreign *column* of the table."""
    return list(dict.fromkeys(name for name, _ in related_columns(fenced)[column]))


def unrecorded_relation(dialect: Dialect, fenced: Fenced, column: str, row: str, root: str) -> str:
    """Return when a changed foreign *column* of a child was not recorded by who reads through it.

    In the root's table an event later than the old version shows it; a child's table has no
    version, so there the last event's value must be the relation's.
    """
    lifecycle, told = f"{root}.stock_lifecycle", []
    for name, path in related_columns(fenced)[column]:
        if path.is_fixed:
            continue  # fixed at entry: what stands behind it may change unrecorded
        seen = path.sql(dialect.vendor, dialect.quote)
        seen = seen.replace("%s", f"{row}.{dialect.quote(column)}")
        told.append(
            f"EXISTS (SELECT 1 FROM ({last_event(dialect, lifecycle, name)}) e "
            f"WHERE COALESCE({dialect.recorded(path)}, {seen}) <> {seen})"
        )
    return " OR ".join(told) or "1 = 0"

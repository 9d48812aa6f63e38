"""What SQLite's REPLACE would delete unseen: rows that an inserted or changed one clashes with."""

from collections.abc import Iterator
from typing import Any

from django.db import connections, models
from django.db.models.expressions import OrderBy
from django.db.models.sql import Query

from stockflow.fence.sql import Dialect
from stockflow.fence.subjects import Fenced

_SQL = Dialect("sqlite")


class Clashes:
    """The uniquenesses that Django declares on a table, as conditions on what is written.

    Attributes:
        columns: The columns that they speak of.
    """

    def __init__(self, fenced: Fenced, using: str) -> None:
        self._meta: Any = fenced.model._meta
        self._using = using
        self._table = _SQL.quote(fenced.table)
        self._whole = [*_whole(self._meta)]
        self._partial = [*self._parts()]
        said = " ".join(f"{' '.join(values)} {where}" for values, where in self._partial)
        local = [str(field.column) for field in self._meta.local_concrete_fields]
        named = [column for column in local if _SQL.quote(column) in said]
        self.columns = list(dict.fromkeys([*(c for unique in self._whole for c in unique), *named]))

    def meets(self, but: str = "1 = 1") -> str:
        """Return when the NEW row meets a row ``x`` of which *but* is true; "" if it cannot."""
        told = [
            f"EXISTS (SELECT 1 FROM {self._table} x WHERE {but} AND "
            + " AND ".join(f"x.{_SQL.quote(c)} = NEW.{_SQL.quote(c)}" for c in columns)
            + ")"
            for columns in self._whole
        ]
        return " OR ".join([*told, *(self._meets_partly(*part, but) for part in self._partial)])

    def _meets_partly(self, values: list[str], where: str, but: str) -> str:
        """Both rows are asked for the same values, under the same condition."""
        named = ", ".join(f"{value} AS u{n}" for n, value in enumerate(values))
        new = ", ".join(f"NEW.{column} AS {column}" for column in map(_SQL.quote, self.columns))
        equal = " AND ".join(f"x.u{n} = n.u{n}" for n in range(len(values)))
        return (
            f"EXISTS (SELECT 1 FROM (SELECT rowid AS rowid, {named} FROM {self._table}{where}) x, "
            f"(SELECT {named} FROM (SELECT {new}){where}) n WHERE {but} AND {equal})"
        )

    def _parts(self) -> Iterator[tuple[list[str], str]]:
        """Yield values and condition of each uniqueness of expressions, or of some rows only."""
        for constraint in self._meta.constraints:
            if not isinstance(constraint, models.UniqueConstraint):
                continue
            if constraint in self._meta.total_unique_constraints:
                continue
            values = [*map(models.F, constraint.fields), *constraint.expressions]
            told = [self._text(v.expression if isinstance(v, OrderBy) else v) for v in values]
            condition = constraint.condition
            yield told, "" if condition is None else f" WHERE {self._text(condition)}"

    def _text(self, said: Any) -> str:
        """Return an expression or condition of bare columns, as Django writes it into an index."""
        connection = connections[self._using]
        query = Query(self._meta.model, alias_cols=False)
        compiler = query.get_compiler(connection=connection)
        if isinstance(said, models.Q):
            sql, values = query.build_where(said).as_sql(compiler, connection)
        else:
            sql, values = compiler.compile(said.resolve_expression(query))
        editor = connection.SchemaEditorClass(connection)
        return str(sql % tuple(editor.quote_value(value) for value in values))


def _whole(meta: Any) -> Iterator[list[str]]:
    """Yield the columns of each uniqueness of the whole table."""
    local: list[models.Field[Any, Any]] = list(meta.local_concrete_fields)
    yield from ([str(field.column)] for field in local if field.unique)
    names = [*meta.unique_together, *(c.fields for c in meta.total_unique_constraints)]
    yield from ([str(meta.get_field(name).column) for name in fields] for fields in names)

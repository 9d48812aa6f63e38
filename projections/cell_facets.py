"""The value of a facet on one side of an event, as an expression of the database."""

from typing import Any, ClassVar

from django.db.models import F, Func, TextField, Value


class CellFacet(Func):
    """A value in the facets of one side of an event."""

    column: ClassVar[str]

    def __init__(self, lookup: str, **options: Any) -> None:
        options.setdefault("output_field", TextField())
        super().__init__(F(self.column), Value(lookup), **options)
        self.lookup = lookup

    def as_postgresql(
        self, compiler: Any, connection: Any, **context: Any
    ) -> tuple[str, list[Any]]:
        cell, values = compiler.compile(self.source_expressions[0])
        sql = (
            f"(CASE WHEN jsonb_exists(({cell})::jsonb, %s)"
            f" THEN coalesce(({cell})::jsonb ->> %s, '') ELSE 'not recorded' END)"
        )
        return sql, [*values, self.lookup, *values, self.lookup]

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        cell, values = compiler.compile(self.source_expressions[0])
        path = '$."' + self.lookup + '"'
        sql = (
            f"(CASE json_type({cell}, %s) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
            f" WHEN 'null' THEN '' ELSE coalesce(CAST(json_extract({cell}, %s) AS text),"
            " 'not recorded') END)"
        )
        return sql, [*values, path, *values, path]


class SourceFacet(CellFacet):
    """The value of a facet before the event, as text: ``"not recorded"`` where the event has none.

    A facet that is None is the empty text.
    """

    column = "source_facets"


class TargetFacet(CellFacet):
    """The value of a facet after the event, as text: ``"not recorded"`` where the event has none.

    A facet that is None is the empty text.
    """

    column = "target_facets"

"""Tables: rows of several numbers, with the unit of each column."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from stockflow.projections.answers import Answer
from stockflow.projections.frames import Framed, with_facet
from stockflow.projections.statements import Holds

Row = TypeVar("Row", bound=tuple[Any, ...])


class Table(Answer[Row], Framed):
    """Named tuples, the last field of which is the facet value where it is split.

    Attributes:
        units: The unit of each column that has one, such as ``"day"``.
        by: The lookup of the facet that splits it, or None.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        fields: tuple[str, ...],
        holds: Holds,
        *,
        units: Mapping[str, str],
        by: str | None = None,
    ) -> None:
        super().__init__(rows, *holds)
        self.units, self.by = dict(units), by
        names = tuple(field for field in fields if field != "facet")
        self._columns = with_facet(names, by)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        return self._columns

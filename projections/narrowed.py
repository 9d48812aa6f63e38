"""Narrowed stocks: the objects in some states that have some facet values."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.measures.changes import Change
from stockflow.projections.belonging import within
from stockflow.projections.narrowing import Narrowing, Where
from stockflow.projections.stock_cohorts import StockCohorts
from stockflow.projections.stock_spells import StockSpells
from stockflow.projections.stocks import Stock

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.fields import StockReference


class NarrowedStock(Stock):
    """What ``Stock(..., where=...)`` gives for declared facets: exact, as any other.

    A changed facet value brings objects in and takes them out by reclassification. Stays, and
    what follows from them, are of whole states: those are asked with ``by=`` of the whole stock.
    """

    is_narrowed = True
    narrowing: Narrowing

    def __init__(
        self, slug: str, reference: "StockReference", *, where: Where, **options: Any
    ) -> None:
        self.narrowing = Narrowing(reference, where)
        super().__init__(slug, reference, **options)

    @property
    def definition(self) -> str:
        """What it is, to be read."""
        return f"{super().definition}, where {self.narrowing}"

    def all(self) -> "QuerySet[Any]":
        """Return the rows that are in it now."""
        if self.narrowing.is_in_rows:
            return super().all().filter(self.narrowing.of_rows())
        return super().all().filter(stock_lifecycle__in=[one.lifecycle for one in self.members()])

    def holds(self, facets: str | None) -> bool:
        """Whether a cell of its states belongs to it."""
        return self.narrowing.holds(facets)

    def own(self, changes: Iterable[Change]) -> list[Change]:
        """Return *changes* with the cells that do not belong to it moved elsewhere."""
        return within(changes, [self])

    def event_condition(self, column: str) -> Q:
        """Return the condition on events whose facets in *column* belong to it."""
        return self.narrowing.of_events(column)

    @property
    def row_condition(self) -> Q | None:
        """What its rows have beside their state; None where rows do not show it."""
        return self.narrowing.of_rows() if self.narrowing.is_in_rows else None


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(stock: Stock, *args: Any, **kwargs: Any) -> Any:
        raise InvalidMeasure(
            f"{name}() of the stock {stock.slug!r} cannot be asked for: it is narrowed by facets, "
            "and stays are of whole states. Ask a stock of these states with by=."
        )

    refuse.__name__, refuse.__doc__ = name, "Refuse: stays are of whole states."
    return refuse


OF_STAYS: Final = (
    *(
        name
        for room in (StockSpells, StockCohorts)
        for name in vars(room)
        if not name.startswith("_")
    ),
    "extremes",
)
"""The measures that follow objects, not cells."""

for _name in OF_STAYS:
    setattr(NarrowedStock, _name, _refusal(_name))

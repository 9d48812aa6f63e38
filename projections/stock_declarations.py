"""Stocks as they are declared: what they are, and the rows that are in them."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from django.db import router
from django.db.models import Q

from stockflow.domain.measures.changes import Place
from stockflow.projections import registry
from stockflow.projections.declaring import (
    check_splits,
    checked_facets,
    checked_reference,
    checked_states,
)
from stockflow.projections.facets import By
from stockflow.projections.narrowing import Narrowing
from stockflow.projections.rows import rows_in

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    from stockflow.domain.measures.changes import Change
    from stockflow.fields import StockReference
    from stockflow.projections.narrowing import Narrowing
    from stockflow.projections.stocks import Stock

Hook = Callable[..., Any]
"""A function that is called before, or after, a record is written."""


class Options(TypedDict, total=False):
    """What any stock may be declared with; see :class:`~stockflow.projections.stocks.Stock`."""

    facets: Iterable[By]
    frequency: str | None
    before_count: Iterable[Hook]
    after_count: Iterable[Hook]
    name: str
    description: str


class StockDeclaration:
    """What a stock says of itself.

    Attributes:
        is_sampled: Whether it is counted by a query, and has no past but its records.
        is_narrowed: Whether facets narrow it to a part of its states' cells.
        narrowing: Which facet values those have; None where it has all of them.
        facets: What its records are split by.
        frequency: How often the schedule writes its record.
    """

    is_sampled = False
    is_narrowed = False
    narrowing: "Narrowing | None" = None

    def __init__(
        self,
        slug: str,
        reference: "StockReference | None" = None,
        *,
        states: Iterable[str] = (),
        where: Mapping[Any, Any] | None = None,
        queryset: "QuerySet[Any] | None" = None,
        **options: Unpack[Options],
    ) -> None:
        self._reference = checked_reference(slug, reference)
        self._states = checked_states(slug, self._reference, states)
        self._declare(slug, **options)

    def _declare(
        self,
        slug: str,
        *,
        facets: Iterable[By] = (),
        frequency: str | None = None,
        before_count: Iterable[Hook] = (),
        after_count: Iterable[Hook] = (),
        name: str = "",
        description: str = "",
    ) -> None:
        self.slug, self.description, self.frequency = slug, description, frequency
        self.facets = checked_facets("Stock", slug, facets)
        self.before_count, self.after_count = list(before_count), list(after_count)
        self._check_splits()
        registry.register(registry.declared.stocks, cast("Stock", self))
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Stock: {self.slug}>"

    @property
    def title(self) -> str:
        """Its name and, where it stands among exact ones, that it is sampled."""
        return f"{self.name} (sampled)" if self.is_sampled else self.name

    @cached_property
    def places(self) -> frozenset[Place]:
        """Where its objects are: each model, field and state."""
        reference = self.reference
        return frozenset(
            Place(model, reference.name, state)
            for model in reference.model_labels
            for state in self.states
        )

    @property
    def using(self) -> str:
        """The alias of the database that answers."""
        return router.db_for_read(self.reference.model)

    @property
    def reference(self) -> "StockReference":
        """The stock field, as its model gives it."""
        return self._reference

    @property
    def states(self) -> frozenset[str]:
        """The states that belong to it."""
        return self._states

    @property
    def subject_model(self) -> "type[Model]":
        """The model of its objects."""
        return self.reference.model

    @property
    def definition(self) -> str:
        """What it is, to be read."""
        return f"{self.reference.label} is {' or '.join(map(repr, sorted(self.states)))}"

    def all(self) -> "QuerySet[Any]":
        """Return the rows that are in it now."""
        return rows_in(self.reference, self.states, self.using)

    def faceted(self, by: By, value: Any) -> "QuerySet[Any]":
        """Return the rows of :meth:`all` that have a facet value.

        Raises:
            UnknownFacet: If the field does not declare the facet.
            UnknownFacetValue: If the facet cannot have the value.
        """
        narrowing = Narrowing(self.reference, {by: [value]})
        return self.all().filter(narrowing.of_rows())

    def holds(self, facets: str | None) -> bool:
        """Whether a cell of its states, with *facets* as canonical JSON, belongs to it."""
        return True

    def own(self, changes: "Iterable[Change]") -> "list[Change]":
        """Return *changes* as it counts them."""
        return list(changes)

    def event_condition(self, column: str) -> Q:
        """Return what its events have beside their state, their facets being in *column*."""
        return Q()

    @property
    def row_condition(self) -> Q | None:
        """What its rows have beside their state; None where rows do not show it."""
        return Q()

    def _check_splits(self) -> None:
        check_splits([self.reference], self.facets)

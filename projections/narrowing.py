"""Narrowing: the part of a field's cells that has some facet values."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from stockflow.domain.cells import decode_facets, encode_value
from stockflow.projections.facets import By, checked_value, lookup_of

if TYPE_CHECKING:
    from stockflow.facets import FacetPath
    from stockflow.fields import StockReference

Where = Mapping[By, Any]
"""What ``where=`` takes: a value, or a list of values, for each facet."""


class Narrowing:
    """What a stock is narrowed by: for each facet the values that it may have.

    Raises:
        UnknownFacet: If the field does not declare a facet.
        UnknownFacetValue: If a facet cannot have a value.
    """

    def __init__(self, reference: "StockReference", where: Where) -> None:
        self.values: dict[str, tuple[Any, ...]] = {}
        self._texts: dict[str, frozenset[str]] = {}
        self._paths: list[FacetPath] = []
        for by, given in where.items():
            lookup, wanted = lookup_of(reference, by) or "", _listed(given)
            path = reference.facets[lookup]
            texts = [checked_value(reference, by, value) for value in wanted]
            self.values[lookup], self._texts[lookup] = wanted, frozenset(texts)
            self._paths.append(path)
        self.holds = cache(self._holds)

    def __str__(self) -> str:
        return " and ".join(
            f"{lookup} is {' or '.join(map(repr, values))}"
            for lookup, values in self.values.items()
        )

    def _holds(self, text: str | None) -> bool:
        """Whether the cell with these facets, as canonical JSON, belongs to it."""
        facets = decode_facets(text)
        return all(
            lookup in facets and encode_value(facets[lookup]) in texts
            for lookup, texts in self._texts.items()
        )

    def of_events(self, column: str) -> Q:
        """Return the condition on events whose facets in *column* belong to it.

        The text is canonical, and within a value each quote is escaped: what looks like a
        facet with its value is one.
        """
        found = Q()
        for lookup, texts in self._texts.items():
            either = Q()
            for text in texts:
                for end in ",}":
                    pair = Value(f"{encode_value(lookup)}:{text}{end}")
                    either |= Q(GreaterThan(StrIndex(F(column), pair), 0))
            found &= either
        return found

    def in_sql(self, column: str, position: str) -> tuple[str, list[str]]:
        """Return the condition of :meth:`of_events` as SQL with what it binds.

        Args:
            column: Which has the facets, as the log keeps them.
            position: The database's function that finds a text in another.
        """
        either = [
            [f"{encode_value(lookup)}:{text}{end}" for text in sorted(texts) for end in ",}"]
            for lookup, texts in self._texts.items()
        ]
        found = [" OR ".join([f"{position}({column}, %s) > 0"] * len(pairs)) for pairs in either]
        sql = " AND ".join(f"({one or '1 = 0'})" for one in found)
        return sql, [pair for pairs in either for pair in pairs]

    @property
    def is_in_rows(self) -> bool:
        """Whether rows show it: what is kept as it was at entry, only the log has."""
        return not any(path.is_fixed for path in self._paths)

    def of_rows(self) -> Q:
        """Return the condition on the rows of the model."""
        found = Q()
        for lookup, values in self.values.items():
            either = Q(**{f"{lookup}__in": [value for value in values if value is not None]})
            if None in values:
                either |= Q(**{f"{lookup}__isnull": True})
            found &= either
        return found


def _listed(given: Any) -> tuple[Any, ...]:
    is_list = isinstance(given, Iterable) and not isinstance(given, str)
    return tuple(given) if is_list else (given,)

"""Which stock, and which part of it: chosen in a query string, passed on in one."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, QuerySet
from django.http import QueryDict

from stockflow.domain.cells import NOT_RECORDED
from stockflow.errors import InvalidSelection
from stockflow.projections.counting import slug_of
from stockflow.projections.facets import By, Facet, facet_of, is_declared, lookup_of
from stockflow.projections.rows_now import rows_of

if TYPE_CHECKING:
    from stockflow.projections.stocks import Stock

__all__ = ["FacetForm", "FacetSelection", "StockSelection"]

STOCK = "stock"
PREFIX = "facet-"
"""What comes before a facet's slug in a query string, so that no other parameter is meant."""

_NONE = "null"


class FacetSelection:
    """One value of one facet.

    In a query string it is ``facet-channel=web``. ``null`` is None; a text that would be taken
    for it, is empty or begins with a quotation mark stands in quotation marks. A parameter that
    is empty selects nothing.

    Args:
        stock: The stock whose field declares the facet.
        facet: The facet, its slug or its lookup.
        value: The value, as :meth:`Stock.count` gives it with ``by=``.

    Raises:
        UnknownFacet: If the field does not declare the facet.
        UnknownFacetValue: If the facet was declared with values, and this is none of them.
        InvalidSelection: If only the log has the facet, or its column cannot have the value.
    """

    def __init__(self, stock: "Stock", facet: By, value: Any) -> None:
        if stock.is_sampled:
            raise InvalidSelection(
                f"{stock.slug!r} is sampled and cannot be narrowed: filter its queryset instead."
            )
        self.stock, self.facet = stock, facet
        self.lookup = str(lookup_of(stock.reference, facet))
        path = stock.reference.facets[self.lookup]
        if path.is_fixed:
            raise InvalidSelection(
                f"{stock.slug!r} cannot be narrowed by {self.lookup!r}: it is kept as it was at entry, "
                "which the log knows and the rows do not. Select by another facet."
            )
        self._leaf: Any = path.leaf
        while isinstance(self._leaf, ForeignKey):
            self._leaf = self._leaf.target_field
        self.value = self._checked(value)

    def __repr__(self) -> str:
        return f"<FacetSelection: {self.slug}={self.text}>"

    @classmethod
    def from_text(cls, stock: "Stock", facet: By, text: str) -> "FacetSelection":
        """Return the selection of the value that *text* stands for.

        Raises:
            UnknownFacet: As for the class.
            InvalidSelection: Likewise.
        """
        value: Any = text
        if "\0" in text:
            raise InvalidSelection(f"{text!r} is no value of a facet: it has a null character.")
        if text == _NONE:
            value = None
        elif text.startswith('"'):
            try:
                value = json.loads(text)
            except ValueError:
                raise InvalidSelection(
                    f"{text!r} is no value of a facet: the quotation mark is not closed."
                ) from None
        return cls(stock, facet, value)

    @property
    def slug(self) -> str:
        """The facet's slug or, where none is declared, its lookup."""
        return slug_of(self.facet)

    @property
    def parameter(self) -> str:
        """The name of the query string's parameter."""
        return PREFIX + self.slug

    @property
    def text(self) -> str:
        """The value as it stands in a query string."""
        return text_of(self.value)

    @property
    def label(self) -> str:
        """What to show for the value."""
        return label_of(facet_of(self.facet), self.value)

    def narrow(self, members: "QuerySet[Any]") -> "QuerySet[Any]":
        """Return those of *members* that have the value."""
        if self.value is None:
            return members.filter(**{f"{self.lookup}__isnull": True})
        return members.filter(**{self.lookup: self.value})

    def _checked(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            checked = self._leaf.to_python(value)
        except ValidationError as error:
            raise InvalidSelection(
                f"{value!r} is no value of facet {self.slug!r}: {' '.join(error.messages)}"
            ) from None
        declared = facet_of(self.facet)
        if declared is not None:
            declared.check(checked)
        return checked


class StockSelection:
    """A stock, narrowed by facets.

    ::

        selection = StockSelection(hot, {"channel": "web"})
        selection.members()          # the rows
        selection.query().urlencode()     # "stock=hot&facet-channel=web"
        StockSelection.from_query(request.GET, [hot, pipeline])

    Args:
        stock: The stock.
        values: The values selected, by facet, slug or lookup.

    Raises:
        UnknownFacet: If the stock's field does not declare a facet.
        InvalidSelection: If a facet cannot have the value.
    """

    def __init__(self, stock: "Stock", values: Mapping[Any, Any] | None = None) -> None:
        self.stock = stock
        self.facets = tuple(
            FacetSelection(stock, facet, value) for facet, value in (values or {}).items()
        )

    def __repr__(self) -> str:
        return f"<StockSelection: {self.query().urlencode()}>"

    @classmethod
    def from_query(cls, query: QueryDict, stocks: "Iterable[Stock]") -> "StockSelection":
        """Return what *query* selects, the first of *stocks* where it names none.

        Parameters of others are left alone.

        Raises:
            InvalidSelection: If the stock is none of *stocks*, or a value is impossible.
            UnknownFacet: If the stock's field does not declare a facet.
        """
        offered = {stock.slug: stock for stock in stocks}
        slug = query.get(STOCK) or next(iter(offered))
        if slug not in offered:
            raise InvalidSelection(
                f"There is no stock {slug!r} to select from (there are: "
                f"{', '.join(map(repr, offered))})."
            )
        selection = cls(offered[slug])
        selection.facets = tuple(
            FacetSelection.from_text(selection.stock, name.removeprefix(PREFIX), text)
            for name, text in query.items()
            if name.startswith(PREFIX) and isinstance(text, str) and text
        )
        return selection

    @property
    def label(self) -> str:
        """What to show for it, such as ``Hot: Web, north``."""
        values = ", ".join(one.label for one in self.facets)
        return f"{self.stock.title}: {values}" if values else self.stock.title

    def members(self) -> "QuerySet[Any]":
        """Return the rows that are in it now."""
        rows = rows_of(self.stock)
        for one in self.facets:
            rows = one.narrow(rows)
        return rows

    def query(self, others: QueryDict | None = None) -> QueryDict:
        """Return the query string that selects it, with the parameters of *others* passed on."""
        query = QueryDict(mutable=True)
        for name, texts in others.lists() if others is not None else ():
            if name != STOCK and not name.startswith(PREFIX):
                query.setlist(name, texts)
        query[STOCK] = self.stock.slug
        for one in self.facets:
            query[one.parameter] = one.text
        return query


class FacetForm(forms.Form):
    """Chooses a stock and the values of its facets; sent by GET, it is a selection.

    Args:
        selection: What is selected.
        stocks: Those to choose from.
        facets: The facets to choose by; those that only the log has are left out.
        others: The parameters to pass on, as hidden fields.
    """

    def __init__(
        self,
        selection: StockSelection,
        *,
        stocks: "Iterable[Stock]" = (),
        facets: Iterable[Facet] = (),
        others: QueryDict | None = None,
    ) -> None:
        selected = selection.query(others)
        super().__init__(initial=selected.dict())
        offered = list(stocks) or [selection.stock]
        if len(offered) > 1:
            choices = [(stock.slug, stock.title) for stock in offered]
            self.fields[STOCK] = forms.ChoiceField(label="Stock", choices=choices)
        offered_facets = [] if selection.stock.is_sampled else list(facets)
        for facet in offered_facets:
            reference = selection.stock.reference
            if (
                is_declared(reference, facet)
                and not reference.facets[str(lookup_of(reference, facet))].is_fixed
            ):
                self.fields[PREFIX + facet.slug] = _facet_field(selection.stock, facet)
        for name in selected:
            if name not in self.fields:
                self.fields[name] = forms.CharField(required=False, widget=forms.HiddenInput)


def _facet_field(stock: "Stock", facet: Facet) -> forms.ChoiceField:
    """Return the choice among a facet's values, else those of members, with how many have each."""
    found = stock.count(by=facet)
    values = list(found) if facet.values is None else facet.values
    choices = [
        (text_of(value), f"{label_of(facet, value)} ({found.get(value, 0):,})")
        for value in values
        if value is not NOT_RECORDED
    ]
    return forms.ChoiceField(label=facet.name, required=False, choices=[("", "all"), *choices])


def text_of(value: Any) -> str:
    """Return a facet's value as it stands in a query string.

    >>> [text_of(value) for value in ("web", 7, None, "null", "")]
    ['web', '7', 'null', '"null"', '""']
    """
    if value is None:
        return _NONE
    text = str(value)
    return json.dumps(text) if text in {"", _NONE} or text.startswith('"') else text


def label_of(facet: Facet | None, value: Any) -> str:
    """Return what to show for *value*, by the facet's labels where it is declared."""
    return ("none" if value is None else str(value)) if facet is None else facet.label(value)

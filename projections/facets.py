"""Facets as declared for reading: what a stock or a flow can be split by."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.db.models.query import FlatValuesListIterable

from stockflow.domain.cells import NOT_RECORDED, decode_facets, encode_value
from stockflow.domain.errors import UnknownFacet, UnknownFacetValue
from stockflow.domain.measures.changes import ValueOf, whole
from stockflow.errors import InvalidDeclaration
from stockflow.projections import registry

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.projections.stocks import Stock


class Facet:
    """A name for a facet that stock fields declare.

    ::

        team = Facet("team", "owner__team", labels={1: "North", 2: "South"})
        hot.count(by=team)
        rep = Facet("rep", "pk", values=Rep.objects.values_list("pk", flat=True))
        hot.count(by=(rep, "owner"))

    Args:
        slug: What identifies it among the facets; ``by=`` takes it as well.
        lookup: The facet as the field declares it; the slug where it is not given. Where the
            facet is given with a prefix, as ``(team, "owner")``, it follows after that. Once
            ``facets=`` of a stock or process has the pair, the facet alone will do for its field.
        name: What to show; made from the slug where it is not given.
        labels: What to show for its values; a value without one is shown as it is.
        values: The values that it may have: a list, or a flat ``values_list()``, which is
            evaluated anew at each use. Without, any value of the column's kind is known.

    Raises:
        InvalidDeclaration: If the slug is taken or is no slug, or *values* are no list and no
            flat queryset.
    """

    def __init__(
        self,
        slug: str,
        lookup: str | None = None,
        *,
        name: str = "",
        labels: Mapping[Any, str] | None = None,
        values: "Iterable[Any] | QuerySet[Any] | None" = None,
    ) -> None:
        self.slug = slug
        self.lookup = slug if lookup is None else lookup
        self.labels = dict(labels or {})
        self._values = _checked_values(slug, values)
        registry.register(registry.declared.facets, self)
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Facet: {self.slug}>"

    def label(self, value: Hashable) -> str:
        """Return what to show for *value*."""
        known: str | None = self.labels.get(value)
        return known or ("none" if value is None else str(value))

    @property
    def values(self) -> list[Any] | None:
        """The values that it may have, read anew where they are a queryset; None where any may be."""
        if self._values is None:
            return None
        return list(self._values.all() if isinstance(self._values, QuerySet) else self._values)

    @property
    def choices(self) -> list[tuple[Any, str]]:
        """The values with what to show for each, as a form's field takes them.

        Raises:
            InvalidDeclaration: If it was declared without values.
        """
        values = self.values
        if values is None:
            raise InvalidDeclaration(
                f"Facet {self.slug!r} has no choices: declare it with values=, a list or a flat "
                "values_list()."
            )
        return [(value, self.label(value)) for value in values]

    def path(self, prefix: str = "") -> str:
        """Return the lookup from an object to the facet, through *prefix* where there is one."""
        return f"{prefix}__{self.lookup}" if prefix else self.lookup

    def check(self, value: Any) -> None:
        """Refuse a value that it cannot have.

        Raises:
            UnknownFacetValue: If it has declared values and *value* is none of them.
        """
        values = self.values
        if values is not None and value not in values:
            known = ", ".join(map(repr, values[:_SHOWN])) or "none"
            more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
            raise UnknownFacetValue(
                f"Facet {self.slug!r} has no value {value!r} (it has: {known}{more})."
            )

    def q(self, value: Any, prefix: str = "") -> Q:
        """Return the condition on rows that have *value*.

        Raises:
            UnknownFacetValue: As for :meth:`check`.
        """
        self.check(value)
        path = self.path(prefix)
        return Q(**({f"{path}__isnull": True} if value is None else {path: value}))


_SHOWN = 20

By = str | Facet | tuple[Facet, str]
"""What ``by=`` takes: a facet's lookup, the slug of a :class:`Facet`, one itself, or one with the
prefix that leads to it through relations."""


def _checked_values(slug: str, values: Any) -> Any:
    if isinstance(values, QuerySet):
        if values._iterable_class is not FlatValuesListIterable:
            raise InvalidDeclaration(
                f"Facet {slug!r} needs the values of one column: end the queryset with "
                'values_list("column", flat=True).'
            )
        return values
    if isinstance(values, str) or (values is not None and not isinstance(values, Iterable)):
        raise InvalidDeclaration(
            f"Facet {slug!r} needs a list of values or a flat queryset, not {values!r}."
        )
    return None if values is None else list(values)


def facet_of(by: By | None) -> Facet | None:
    """Return the declared facet that *by* names, if it names one."""
    if isinstance(by, tuple):
        return by[0]
    return registry.declared.facets.get(by) if isinstance(by, str) else by


def facets_on(reference: "StockReference") -> dict[str, Facet]:
    """Return the declared facets of a stock field by their lookups there, the first of each."""
    found: dict[str, Facet] = {}
    for facet in registry.declared.facets.values():
        path = _path_of(reference, facet)
        if path in reference.facets:
            found.setdefault(path, facet)
    return found


def checked_value(reference: "StockReference", by: By, value: Any) -> str:
    """Return *value* of a facet as events keep it, as JSON.

    Raises:
        UnknownFacet: If the field does not declare the facet.
        UnknownFacetValue: If the facet cannot have the value.
    """
    path = reference.facets[lookup_of(reference, by) or ""]
    plain = value.pk if isinstance(value, Model) else value
    facet = facet_of(by)
    if facet is not None:
        facet.check(plain)
    try:
        kept = None if plain is None else path.codec.to_json(path.leaf.to_python(plain))
    except (ValidationError, TypeError, ValueError):
        raise UnknownFacetValue(
            f"Facet {path.lookup!r} of {reference.label} cannot be {value!r}: it is kept in "
            f"{path.leaf.model._meta.label}.{path.leaf.name}."
        ) from None
    return encode_value(kept)


def lookup_of(reference: "StockReference", by: By | None) -> str | None:
    """Return the lookup that *by* means for a stock field.

    A facet without its prefix is found where stocks or processes of the field give it one.

    Raises:
        UnknownFacet: If the field does not declare it.
    """
    if by is None or (isinstance(by, str) and by in reference.facets):
        return by
    path = _path_of(reference, by)
    if path in reference.facets:
        return path
    known = ", ".join(map(repr, reference.facets)) or "none"
    raise UnknownFacet(
        f"{reference.label} declares no facet {by!r} (it declares: {known}): "
        "add it to facets= of the field, to be recorded from then on."
    )


def _path_of(reference: "StockReference", by: By) -> str:
    if isinstance(by, tuple):
        return by[0].path(by[1])
    facet = facet_of(by)
    if facet is None:
        return str(by)
    given = set() if facet.lookup in reference.facets else _given(reference, facet)
    return given.pop() if len(given) == 1 else facet.lookup


def _given(reference: "StockReference", facet: Facet) -> set[str]:
    """Return the lookups of *facet* that stocks and processes of the field give a prefix."""
    declared = registry.declared
    splits = [
        *(stock.facets for stock in declared.stocks.values() if _is_of(stock, reference)),
        *(
            process.splits
            for process in declared.processes.values()
            if any(_is_of(stock, reference) for stock in process.stocks)
        ),
    ]
    pairs = (by for own in splits for by in own if isinstance(by, tuple))
    return {one.path(prefix) for one, prefix in pairs if one is facet}


def _is_of(stock: "Stock", reference: "StockReference") -> bool:
    return not stock.is_sampled and stock.reference.field == reference.field


def is_declared(reference: "StockReference", by: By) -> bool:
    """Whether the field declares the facet that *by* names."""
    try:
        return lookup_of(reference, by) is not None
    except UnknownFacet:
        return False


def value_of(reference: "StockReference", lookup: str | None) -> ValueOf:
    """Return what reads the value of facet *lookup* from a cell's text."""
    if lookup is None:
        return whole
    path = reference.facets[lookup]

    @cache
    def read(text: str | None) -> Hashable:
        recorded = decode_facets(text).get(lookup, NOT_RECORDED)
        value: Hashable = recorded if recorded is NOT_RECORDED else path.to_python(recorded)
        return value

    return read


def values_of(reference: "StockReference") -> Callable[[str | None], dict[str, Any]]:
    """Return what reads from a cell's text all facet values that the field declares today.

    A facet that was not declared yet when the text was written is missing.
    """
    paths = reference.facets

    @cache
    def read(text: str | None) -> dict[str, Any]:
        recorded = decode_facets(text)
        return {
            lookup: path.to_python(recorded[lookup])
            for lookup, path in paths.items()
            if lookup in recorded
        }

    return read

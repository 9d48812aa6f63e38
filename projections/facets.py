"""Facets as declared for reading: what a stock or a flow can be split by."""

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from stockflow.domain.cells import NOT_RECORDED, decode_facets
from stockflow.domain.errors import UnknownFacet
from stockflow.domain.measures.changes import ValueOf, whole
from stockflow.projections import registry

if TYPE_CHECKING:
    from stockflow.fields import StockReference


class Facet:
    """A name for a facet that stock fields declare.

    ::

        team = Facet("team", "owner__team", labels={1: "North", 2: "South"})
        hot.count(by=team)

    Args:
        slug: What identifies it among the facets; ``by=`` takes it as well.
        lookup: The facet as the field declares it; the slug where it is not given.
        name: What to show; made from the slug where it is not given.
        labels: What to show for its values; a value without one is shown as it is.

    Raises:
        InvalidDeclaration: If the slug is taken, or is no slug.
    """

    def __init__(
        self,
        slug: str,
        lookup: str | None = None,
        *,
        name: str = "",
        labels: Mapping[Any, str] | None = None,
    ) -> None:
        self.slug = slug
        self.lookup = slug if lookup is None else lookup
        self.labels = dict(labels or {})
        registry.register(registry.declared.facets, self)
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Facet: {self.slug}>"

    def label(self, value: Hashable) -> str:
        """Return what to show for *value*."""
        known: str | None = self.labels.get(value)
        return known or ("none" if value is None else str(value))


By = str | Facet
"""What ``by=`` takes: a facet's lookup, the slug of a :class:`Facet`, or one itself."""


def lookup_of(reference: "StockReference", by: By | None) -> str | None:
    """Return the lookup that *by* means for a stock field.

    Raises:
        UnknownFacet: If the field does not declare it.
    """
    if by is None or (isinstance(by, str) and by in reference.facets):
        return by
    facet = registry.declared.facets.get(by) if isinstance(by, str) else by
    if isinstance(facet, Facet) and facet.lookup in reference.facets:
        return facet.lookup
    known = ", ".join(map(repr, reference.facets)) or "none"
    raise UnknownFacet(
        f"{reference.label} declares no facet {by!r} (it declares: {known}): "
        "add it to facets= of the field, to be recorded from then on."
    )


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

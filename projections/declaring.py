"""What a stock is declared with, checked where it is declared."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stockflow.errors import InvalidDeclaration
from stockflow.projections.facets import By, Facet, lookup_of

if TYPE_CHECKING:
    from stockflow.fields import StockReference


def checked_reference(slug: str, reference: Any) -> "StockReference":
    """Return *reference*.

    Raises:
        InvalidDeclaration: If it is no stock field of a model with objects.
    """
    if not is_reference(reference):
        raise InvalidDeclaration(
            f"Stock {slug!r} needs a stock field as its model gives it, such as "
            f"Lead.temperature, not {reference!r}; or queryset=, which is sampled."
        )
    found: StockReference = reference
    if found.model._meta.abstract:
        raise InvalidDeclaration(
            f"Stock {slug!r}: {found.label} is abstract and has no objects; declare a stock "
            "for each of its children."
        )
    return found


def is_reference(reference: object) -> bool:
    """Whether it is a stock field as a model gives it."""
    from stockflow.fields import StockReference  # noqa: PLC0415  importable without the app registry

    return isinstance(reference, StockReference)


def checked_states(slug: str, reference: "StockReference", states: Iterable[str]) -> frozenset[str]:
    """Return *states* as a set.

    Raises:
        InvalidDeclaration: If they are no list, or one is unknown to the field.
    """
    known = ", ".join(map(repr, sorted(reference.states)))
    asked = frozenset([states] if isinstance(states, str) else states)
    if isinstance(states, str) or not asked:
        raise InvalidDeclaration(
            f"Stock {slug!r} needs a list of states of {reference.label}, not {states!r} (it has: {known})."
        )
    unknown = asked - reference.states
    if unknown and not reference.open_states:
        names = ", ".join(map(repr, sorted(unknown)))
        raise InvalidDeclaration(
            f"Stock {slug!r}: {reference.label} has no state {names} (it has: {known})."
        )
    return asked


def checked_facets(kind: str, slug: str, facets: Iterable[Any]) -> tuple[By, ...]:
    """Return *facets* as a tuple of facets, some with the prefix that leads to them.

    Raises:
        InvalidDeclaration: If one is neither.
    """
    listed = tuple(facets) if not isinstance(facets, str) else (facets,)
    for one in listed:
        is_pair = isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], str)
        if not isinstance(one[0] if is_pair else one, Facet):
            raise InvalidDeclaration(
                f"{kind} {slug!r}: {one!r} is no Facet, nor a pair of a Facet and a prefix such as "
                '(team, "owner").'
            )
    return listed


def check_splits(references: Iterable["StockReference"], facets: Iterable[By]) -> None:
    """Refuse facets that a field does not declare.

    Raises:
        UnknownFacet: If there is one.
    """
    for reference in references:
        for by in facets:
            lookup_of(reference, by)

"""Who is declared: stocks, flows, facets and processes, by slug."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from stockflow.errors import InvalidDeclaration

if TYPE_CHECKING:
    from stockflow.projections.facets import Facet
    from stockflow.projections.flows import Flow
    from stockflow.projections.processes import Process
    from stockflow.projections.stocks import Stock


class Declaration(Protocol):
    """What has a slug."""

    slug: str


D = TypeVar("D", bound=Declaration)


@dataclass
class Registry:
    """The declarations of a project, by kind and slug, in declared order."""

    stocks: "dict[str, Stock]" = field(default_factory=dict)
    flows: "dict[str, Flow]" = field(default_factory=dict)
    facets: "dict[str, Facet]" = field(default_factory=dict)
    processes: "dict[str, Process]" = field(default_factory=dict)
    inline: "dict[str, list[Flow]]" = field(default_factory=dict)
    """The flows that have inline event callables, by the label of each of their models."""


declared = Registry()
"""Those of this project: each registers itself when it is made."""


def register(table: dict[str, D], declaration: D) -> None:
    """Enter *declaration* under its slug.

    Raises:
        InvalidDeclaration: If the slug is taken, or is no slug.
    """
    kind, slug = type(declaration).__name__, declaration.slug
    if not re.fullmatch(r"[-\w]+", str(slug), re.ASCII):
        raise InvalidDeclaration(
            f"{kind} {slug!r} needs a slug: letters, digits, hyphens and underscores."
        )
    if slug in table:
        raise InvalidDeclaration(
            f"There is a {kind} {slug!r} already: slugs name pages, give this one another."
        )
    table[slug] = declaration


def readable(slug: str) -> str:
    """Return the name to show where none is given.

    >>> readable("open-tickets")
    'Open tickets'
    """
    return re.sub(r"[-_]+", " ", slug).strip().capitalize()

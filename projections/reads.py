"""Which events a projection reads."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Q

from stockflow.errors import InvalidDeclaration

if TYPE_CHECKING:
    from django.db import models


@dataclass(frozen=True)
class Reads:
    """The stock events that a projection looks at; what is not said is not asked.

    The checkpoint passes those that it does not look at, too.

    >>> Reads(kinds=["moved"], fields=["temperature"]).condition()
    <Q: (AND: ('field__in', ['temperature']), ('kind__in', ['moved']), ('model__isnull', False))>

    Attributes:
        models: Models, or their labels; an event of a child or proxy is its parent's too.
        fields: Names of stock fields.
        kinds: Such as ``"moved"``; see :class:`stockflow.models.Kind`.
        topics: Topics of ``eventsourcing``, such as ``"stockflow:moved"``.

    Raises:
        InvalidDeclaration: If one of them is no list, but a name or a model by itself.
    """

    models: "Iterable[type[models.Model] | str]" = ()
    fields: Iterable[str] = ()
    kinds: Iterable[str] = ()
    topics: Iterable[str] = ()

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise InvalidDeclaration(
                    f"Reads takes a list of {name}, such as {name}=[{_shown(given)}], not "
                    f"{_shown(given)}."
                )
            object.__setattr__(self, name, tuple(given))  # asked anew for each batch

    def condition(self) -> Q:
        """Return what says so of a row of the log."""
        asked = {
            "model": sorted(label for model in self.models for label in _labels(model)),
            "kind": list(self.kinds),
            "field": list(self.fields),
            "topic": list(self.topics),
        }
        said: dict[str, Any] = {f"{name}__in": values for name, values in asked.items() if values}
        return Q(model__isnull=False, **said)


def _shown(given: Any) -> str:
    return given.__name__ if isinstance(given, type) else repr(given)


def _labels(model: "type[models.Model] | str") -> set[str]:
    from stockflow.fields import family  # noqa: PLC0415  needs the app registry

    try:
        found = apps.get_model(model) if isinstance(model, str) else model
    except LookupError:  # gone from the code; its history is not
        return {str(model).lower()}
    return {one._meta.label_lower for one in family(found)}

"""The contract of projections: what the runner, the replay and the checks ask of each."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn, TypeVar, get_args

from django.apps import apps
from django.db import router

from stockflow.domain.errors import StockflowError
from stockflow.errors import InvalidDeclaration
from stockflow.projections.reads import Reads

if TYPE_CHECKING:
    from django.db import models

    from stockflow.projections.models import Generation

OnError = Literal["stop", "park", "skip"]
"""What becomes of an event that cannot be folded: nothing after it is folded until it can be; or
it is set aside with all later events of its object; or it is left out, and logged."""

BATCH: Final = 50_000


class UnknownProjection(StockflowError, LookupError):
    """No projection has that name."""


class Projection(ABC):
    """Rows that the events add up to, built by position, one generation beside the other.

    Derive yours from :class:`~stockflow.projections.AdditiveProjection` where each event adds to
    rows, from :class:`~stockflow.projections.EventProjection` where Python must look at it, or
    from this class where you write the SQL. The runner calls :meth:`fold` with ranges of
    positions that follow one another, in the transaction that moves the checkpoint.

    Attributes:
        name: What identifies its generations; ``app.name`` clashes with nobody's.
        version: Raised when the rows of a rebuild would differ: rows of another version are
            not added to.
        read_models: The models of its rows, or their labels. Each has a ``generation`` column;
            :class:`~stockflow.projections.models.ReadModel` gives one.
        reads: Which events it looks at; all stock events by default.
        batch_size: How many positions one transaction folds at most.
        on_error: What becomes of an event that cannot be folded.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    read_models: "ClassVar[Sequence[type[models.Model] | str]]"
    reads: ClassVar[Reads] = Reads()
    batch_size: ClassVar[int] = BATCH
    on_error: ClassVar[OnError] = "stop"

    @abstractmethod
    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        """Add the events after one position and up to another to a generation's rows.

        Its rows, and no others, are read and written. It runs in the caller's transaction, so
        that the rows and the checkpoint move together; it has no other effect, since a replay
        calls it again with the same events.
        """

    def zone(self) -> str:
        """Return the zone by whose days it counts, with its rules; empty where it counts by none.

        As :func:`~stockflow.projections.local_days.with_rules` tells it: rows of another zone, or
        of other rules, are not added to.
        """
        return ""

    def compared(self, rows: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        """Return those of *rows* that say something, for a comparison with a rebuild."""
        return rows

    def validate(self) -> None:
        """Refuse a declaration that cannot work.

        Raises:
            InvalidDeclaration: If it cannot.
        """
        if self.on_error not in get_args(OnError):
            choices = ", ".join(map(repr, get_args(OnError)))
            self._refuse(f"has on_error={self.on_error!r}: give one of {choices}")
        for word in ("version", "batch_size"):
            number = getattr(self, word)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                self._refuse(f"has {word}={number!r}: give a whole number from 1")
        if not getattr(self, "read_models", ()) or isinstance(self.read_models, str):
            self._refuse(
                "needs read_models: a list of the models of its rows, without which no generation "
                "of it could be dropped"
            )

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidDeclaration(f"Projection {self.name!r} {why}.")

    def models(self) -> "list[type[models.Model]]":
        """Return the models of its rows."""
        return [
            apps.get_model(model) if isinstance(model, str) else model for model in self.read_models
        ]

    def is_on(self, using: str) -> bool:
        """Return whether its rows are kept in the database *using*, as the routers say."""
        return all(router.allow_migrate_model(using, model) for model in self.models())

    def is_current(self, generation: "Generation") -> bool:
        """Return whether *generation* counts as the code and the settings now say."""
        return (generation.version, generation.zone) == (self.version, self.zone())


P = TypeVar("P", bound=type[Projection])

installed: dict[str, Projection] = {}
"""The projections of this project by name, in the order in which they are folded."""


def register_projection(projection: P) -> P:
    """Decorate a :class:`Projection`, so that it is folded; in an app's ``projections`` module.

    ::

        @register_projection
        class EntriesByChannel(AdditiveProjection):
            name = "crm.entries_by_channel"

    Raises:
        InvalidDeclaration: If its name is taken, or it declares what cannot be.
    """
    made = projection()
    name = getattr(made, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[-\w.]{1,90}", name, re.ASCII):
        raise InvalidDeclaration(
            f"{projection.__qualname__} needs a name of letters, digits, dots, hyphens and "
            f"underscores, at most 90 long, not {name!r}."
        )
    known = installed.get(name)
    if known is not None and _path(type(known)) != _path(projection):
        raise InvalidDeclaration(
            f"There is a projection {name!r} already ({_path(type(known))}): give "
            f"{_path(projection)} another name."
        )
    made.validate()
    installed[name] = made
    return projection


def named(names: Iterable[str] | None = None, *, using: str) -> list[Projection]:
    """Return the projections of *names*, all by default, that are kept in the database *using*.

    Raises:
        UnknownProjection: If there is none of that name.
    """
    found = list(installed.values()) if names is None else [find(name) for name in names]
    return [projection for projection in found if projection.is_on(using)]


def find(name: str) -> Projection:
    """Return the projection of that name.

    Raises:
        UnknownProjection: If there is none.
    """
    if name not in installed:
        raise UnknownProjection(
            f"There is no projection {name!r}: there are {', '.join(installed)}."
        )
    return installed[name]


def projection_of(model: "type[models.Model]") -> Projection:
    """Return the projection whose rows are of *model*.

    Raises:
        UnknownProjection: If none registered has it.
    """
    for projection in installed.values():
        if model in projection.models():
            return projection
    raise UnknownProjection(
        f"{model._meta.label} is the read model of no projection: name it in the read_models of one, "
        "and register that in the app's projections.py."
    )


def _path(projection: type[Projection]) -> str:
    return f"{projection.__module__}.{projection.__qualname__}"

"""The field that keeps an object's stock membership."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, overload

import django_fsm
from django.db import models

from stockflow import ledgers, recording, settling
from stockflow.domain.errors import UnknownState
from stockflow.domain.machine import Machine
from stockflow.errors import InvalidDeclaration
from stockflow.facets import FacetPath, resolve_facet
from stockflow.machines import machine_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


@dataclass(frozen=True)
class StockReference:
    """A stock field as asked for on a model: what ``Lead.temperature`` gives.

    Stocks and flows count the objects of that model only: of a child or proxy its own, of a
    parent also those of its children and proxies.
    """

    model: type[models.Model]
    field: "StockField"

    def __str__(self) -> str:
        return self.label

    @property
    def name(self) -> str:
        """The field's name."""
        return self.field.name

    @property
    def label(self) -> str:
        """The name to show, such as ``crm.Lead.temperature``."""
        return f"{self.model._meta.label}.{self.name}"

    @property
    def model_labels(self) -> tuple[str, ...]:
        """What the events of these objects have in their ``model`` column."""
        return tuple(sorted(model._meta.label_lower for model in family(self.model)))

    @property
    def machine(self) -> Machine:
        """The states and rules."""
        return machine_of(self.model, self.name)

    @property
    def states(self) -> frozenset[str]:
        """The states that the machine names."""
        return self.machine.states

    @property
    def open_states(self) -> bool:
        """Whether a computed target makes other states possible."""
        return self.machine.is_open

    @property
    def facets(self) -> Mapping[str, FacetPath]:
        """The declared facets by their lookup, in declared order."""
        return facets_of(self.model, self.name)


def family(model: type[models.Model]) -> set[type[models.Model]]:
    """Return *model* with all its children and proxies."""
    return {model}.union(*(family(child) for child in model.__subclasses__() if _is_real(child)))


def tables_of(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the concrete models with rows of *model*, children first: these know all fields."""
    tables = {m for m in family(model) if not m._meta.proxy}
    return sorted(tables, key=lambda m: (-len(m.__mro__), m._meta.label))


def _is_real(model: type[models.Model]) -> bool:
    return not model._meta.abstract and model.__module__ != "__fake__"


_facets: dict[tuple[type[models.Model], str], dict[str, FacetPath]] = {}


def facets_of(model: type[models.Model], name: str) -> dict[str, FacetPath]:
    """Return the facets that field *name* of *model* declares, by lookup."""
    key = model, name
    if key not in _facets:
        field = model._meta.get_field(name)
        lookups = field.facet_lookups if isinstance(field, StockField) else ()
        _facets[key] = {lookup: resolve_facet(model, lookup) for lookup in lookups}
    return _facets[key]


class StockFieldDescriptor(django_fsm.FSMFieldDescriptor):
    """The state on an instance, a :class:`StockReference` on a class."""

    field: "StockField"

    def __get__(self, instance: Any, type: Any = None) -> Any:  # noqa: A002  django's signature
        if instance is None:
            return StockReference(type, self.field)
        try:
            return instance.__dict__[self.field.name]
        except KeyError:
            return self.field.get_state(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        name, known = self.field.name, instance.__dict__
        if name in known:
            if known[name] == value or ledgers.is_refreshing(instance):
                known[name] = value
                return
            raise AttributeError(
                f"{instance._meta.label}.{name} is {known[name]!r} and cannot be set to {value!r}: "
                "call a transition, so that the change is recorded."
            )
        if not instance._state.adding and not ledgers.is_refreshing(instance):
            raise AttributeError(
                f"{instance._meta.label}.{name} is deferred and cannot be set: call a transition, "
                "so that the change is recorded."
            )
        self.field.set_proxy(instance, value)
        known[name] = value


class StockField(django_fsm.FSMField):
    """An ``FSMField`` whose every change is recorded as an event.

    Protected, and not editable unless asked. Beside it stand ``<name>_since`` (when the
    state was entered) and ``<name>_due_at`` (when the earliest decay leaves it), which
    only a save with a transition writes.

    Args:
        facets: Lookups that split the stocks of this field: columns of the model or, through
            forward foreign keys, of related ones, such as ``"channel"`` or ``"owner__team"``.
            The model's own column must have its value before it is saved.
        **kwargs: As for ``FSMField``.

    Raises:
        InvalidDeclaration: If it is asked to be nullable or unprotected, or facets is a text.
    """

    descriptor_class = StockFieldDescriptor

    def __init__(self, *args: Any, facets: Iterable[str] = (), **kwargs: Any) -> None:
        if kwargs.setdefault("protected", True) is not True:
            raise InvalidDeclaration("A StockField is protected: only transitions change it.")
        if kwargs.get("null"):
            raise InvalidDeclaration("A StockField cannot be null: the outside is no state.")
        if isinstance(facets, str):
            raise InvalidDeclaration(f"facets must be a list of lookups, not {facets!r}.")
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)
        self.facet_lookups = tuple(facets)

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> StockReference: ...
        @overload
        def __get__(self, instance: models.Model, owner: Any) -> str: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    @cached_property
    def since_name(self) -> str:
        """The name of the field that says when the state was entered."""
        return f"{self.name}_since"

    @cached_property
    def due_name(self) -> str:
        """The name of the field that says when the earliest decay is due."""
        return f"{self.name}_due_at"

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs["editable"] = self.editable
        return name, path, args, kwargs

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        super().contribute_to_class(cls, name, private_only=private_only, **kwargs)
        if cls.__module__ == "__fake__":
            return  # a migration's model names these two among its own fields
        for companion in (f"{name}_since", f"{name}_due_at"):
            if companion not in cls.__dict__:
                cls.add_to_class(companion, _instant_field())

    def _collect_transitions(self, *args: Any, **kwargs: Any) -> None:
        super()._collect_transitions(*args, **kwargs)
        for name, method in self.transitions.get(kwargs["sender"], {}).items():
            if inspect.iscoroutinefunction(inspect.unwrap(method)):
                raise InvalidDeclaration(
                    f"{kwargs['sender'].__qualname__}.{name} is an async transition: a transition "
                    "changes memory only, so make it a plain method and await asave()."
                )

    def change_state(self, instance: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Settle overdue decays, do the transition, and remember it for the next save."""
        own = instance._meta.get_field(self.name)
        if own is not self:  # siblings of one abstract base share their methods
            return own.change_state(instance, method, *args, **kwargs)
        with recording.called(instance, self, method):
            return super().change_state(instance, method, *args, **kwargs)

    def set_state(self, instance: Any, state: Any) -> None:
        """Enter *state*; inside a transition, remember the move."""
        recording.moved(instance, self, state)

    def due(self, instance: "StockflowModel", since: datetime) -> datetime | None:
        """Return when the earliest decay of the instance's state is due, entered at *since*."""
        return settling.due(instance, self, since)

    def check_state(self, instance: models.Model, state: object) -> None:
        """Refuse a state that the machine does not have.

        Raises:
            UnknownState: If it is no text, or no rule, choice or default names it.
        """
        machine = machine_of(type(instance), self.name)
        if isinstance(state, str) and (state in machine.states or (machine.is_open and state)):
            return
        raise UnknownState(
            f"{instance._meta.label}.{self.name} has no state {state!r} "
            f"(it has: {', '.join(map(repr, sorted(machine.states)))})."
        )


def _instant_field() -> "models.DateTimeField[Any, Any]":
    return models.DateTimeField(null=True, default=None, editable=False)

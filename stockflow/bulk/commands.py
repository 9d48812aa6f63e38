"""A transition asked of many objects: what it needs, and whether SQL alone can make it."""

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from django.contrib.auth import get_permission_codename
from django.db import models
from django.db.models.signals import post_save, pre_save

from stockflow.bodies import has_listeners, is_empty
from stockflow.domain.errors import UnknownTransition
from stockflow.fields import StockField
from stockflow.subjects import Subject, subject_of
from stockflow.transitions import Extras


@dataclass(frozen=True)
class Command:
    """One transition of one field, for whom it is made and with which arguments."""

    model: type[models.Model]
    field: StockField
    name: str
    user: Any
    arguments: dict[str, Any]

    @cached_property
    def subject(self) -> Subject:
        """The model, as saving knows it."""
        return subject_of(self.model)

    @cached_property
    def meta(self) -> Any:
        """What django-fsm knows of the method."""
        method: Any = getattr(self.model, self.name)
        return method._django_fsm

    @cached_property
    def rules(self) -> list[Any]:
        """The declared transitions, one for each source."""
        return list(self.meta.transitions.values())

    @cached_property
    def may_change(self) -> bool:
        """Whether the user may change every object of the model."""
        return self.user is None or self.user.has_perm(self._change)

    @property
    def _change(self) -> str:
        meta = self.model._meta
        return f"{meta.app_label}.{get_permission_codename('change', meta)}"

    def is_permitted(self, instance: Any, state: str) -> bool:
        """Whether the user may make it on *instance*, which is in *state*."""
        if self.user is None:
            return True
        may_change = self.may_change or self.user.has_perm(self._change, instance)
        return may_change and bool(self.meta.has_transition_perm(instance, state, self.user))

    @cached_property
    def _is_open_to_user(self) -> bool:
        if self.user is None:
            return True
        return self.may_change and all(
            not rule.permission
            or (isinstance(rule.permission, str) and self.user.has_perm(rule.permission))
            for rule in self.rules
        )

    @cached_property
    def is_uniform(self) -> bool:
        """Whether it does the same to every object, so that no instance is needed."""
        return (
            not self.arguments
            and type(self.field) is StockField
            and self._is_open_to_user
            and all(_is_plain(rule) for rule in self.rules)
            and is_empty(getattr(self.model, self.name))
            and not is_observed(self.model)
            and not has_listeners(self.model)
            and _is_in_one_table(self.subject)
            and all(is_clocked(field) for field in moving_columns(self.model))
        )


def command(model: type[models.Model], name: str, user: Any, arguments: dict[str, Any]) -> Command:
    """Return the transition *name* of *model*.

    Raises:
        UnknownTransition: If no stock field of the model has it.
    """
    known: set[str] = set()
    for field in subject_of(model).fields:
        methods = field.transitions.get(model, {})
        if name in methods:
            return Command(model, field, name, user, arguments)
        known |= methods.keys()
    raise UnknownTransition(
        f"{model._meta.label} has no transition {name!r} "
        f"(it has: {', '.join(map(repr, sorted(known))) or 'none'})."
    )


def is_observed(model: type[models.Model]) -> bool:
    """Whether somebody wants to see every save: a receiver, or a ``save()`` of the model's own."""
    from stockflow.models import StockflowModel  # noqa: PLC0415  it needs the managers

    return (
        pre_save.has_listeners(model)
        or post_save.has_listeners(model)
        or model.save is not models.Model.save
        or any(
            getattr(model, name) is not getattr(StockflowModel, name)
            for name in ("save_base", "_save_table", "_do_update")
        )
    )


def moving_columns(model: type[models.Model]) -> list[Any]:
    """Return the fields that may take another value with each save, such as ``auto_now``."""
    return [
        field
        for field in model._meta.concrete_fields
        if type(field).pre_save is not models.Field.pre_save
        and (getattr(field, "auto_now", False) or not _is_of_time(field))
    ]


def clocked_values(model: type[models.Model]) -> dict[Any, Any]:
    """Return the fields with ``auto_now``, and what they are now."""
    return {field: field.pre_save(SimpleNamespace(), False) for field in moving_columns(model)}


def is_clocked(field: Any) -> bool:
    """Whether the new value is the time, not the object's."""
    return _is_of_time(field) and type(field).__module__.startswith("django.db.models")


def _is_of_time(field: Any) -> bool:
    return isinstance(field, models.DateField | models.TimeField)


def _is_plain(rule: Any) -> bool:
    extras: Extras = rule.custom.get(Extras.KEY, Extras())
    return isinstance(rule.target, str) and extras.restarts_clock and not rule.conditions


def _is_in_one_table(subject: Subject) -> bool:
    columns = [*subject.columns.values(), *subject.facet_columns.values()]
    columns += moving_columns(subject.model)
    return all(
        column.model._meta.concrete_model is subject.table._meta.concrete_model
        and not hasattr(column, "from_db_value")
        for column in columns
    )

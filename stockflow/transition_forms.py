"""Forms for the arguments of transitions, read off their signatures."""

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, Union
from uuid import UUID

from django import forms
from django.db import models

REASON = "stockflow_reason"
"""The field that says why; its name leaves all others to arguments."""

_FIELDS: Mapping[Any, Callable[..., forms.Field]] = {
    str: forms.CharField,
    int: forms.IntegerField,
    float: forms.FloatField,
    Decimal: forms.DecimalField,
    bool: forms.BooleanField,
    time: forms.TimeField,
    timedelta: forms.DurationField,
    UUID: forms.UUIDField,
}


class TransitionForm(forms.Form):
    """Asks for a transition's arguments, and why it is made.

    A form of your own for a transition derives from it, and has a field for each argument.
    """

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self.cleaned_data.get(REASON) or "")

    def arguments(self) -> dict[str, Any]:
        """Return what to call the transition with; what was left empty keeps its default."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name != REASON and not self._is_left_out(name, value)
        }

    def _is_left_out(self, name: str, value: Any) -> bool:
        field = self.fields[name]
        return bool(getattr(field, "has_default", False)) and value in field.empty_values

    @classmethod
    def asks(cls) -> bool:
        """Whether there is anything to fill in but the reason."""
        return bool(cls.base_fields.keys() - {REASON})


def form_of(method: Any, given: type[forms.Form] | None = None) -> type[TransitionForm]:
    """Return the form for the transition *method*, or the *given* one with a reason."""
    fields: dict[str, Any] = {} if given else dict(_argument_fields(method))
    fields[REASON] = forms.CharField(label="Reason", required=False, max_length=500)
    bases = (TransitionForm,) if given is None else (given, TransitionForm)
    if given is not None and issubclass(given, TransitionForm):
        bases = (given,)
    return type("TransitionForm", bases, fields)


def _argument_fields(method: Any) -> typing.Iterator[tuple[str, forms.Field]]:
    plain = inspect.unwrap(method)
    try:
        hints = typing.get_type_hints(plain)
    except NameError:  # of names that only a type checker imports
        hints = {}
    for parameter in list(inspect.signature(plain).parameters.values())[1:]:
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield parameter.name, _field(parameter, hints.get(parameter.name, str))


def _field(parameter: inspect.Parameter, hint: Any) -> forms.Field:
    has_default = parameter.default is not parameter.empty
    hint, may_be_none = _without_none(hint)
    told: dict[str, Any] = {
        "label": parameter.name.replace("_", " ").capitalize(),
        "required": not (has_default or may_be_none or hint is bool),
    }
    if has_default and parameter.default is not None:
        told["initial"] = parameter.default
    field = _made(hint, told)
    field.has_default = has_default and hint is not bool  # type: ignore[attr-defined]  # ours
    return field


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    rest = [one for one in typing.get_args(hint) if one is not type(None)]
    return rest[0], len(rest) < len(typing.get_args(hint))


def _made(hint: Any, told: dict[str, Any]) -> forms.Field:
    if typing.get_origin(hint) is Literal:
        return _choice([(value, str(value)) for value in typing.get_args(hint)], told)
    if isinstance(hint, type):
        if issubclass(hint, enum.Enum):
            return _choice([(one, str(getattr(one, "label", one.name))) for one in hint], told)
        if issubclass(hint, models.Model):
            return forms.ModelChoiceField(hint._default_manager.all(), **told)
        if issubclass(hint, datetime):
            widget: Any = forms.DateTimeInput({"type": "datetime-local"}, "%Y-%m-%dT%H:%M:%S")
            return forms.DateTimeField(widget=widget, **told)
        if issubclass(hint, date):
            return forms.DateField(widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"), **told)
    return _FIELDS.get(hint, forms.CharField)(**told)


def _choice(choices: list[tuple[Any, str]], told: dict[str, Any]) -> forms.Field:
    """Return a choice of values of any type, each named by its text in the form."""
    values = {_key(value): value for value, _ in choices}
    empty = [] if told["required"] else [("", "---------")]
    named = [*empty, *((_key(value), label) for value, label in choices)]
    if "initial" in told:
        told = {**told, "initial": _key(told["initial"])}
    return forms.TypedChoiceField(choices=named, coerce=values.get, empty_value=None, **told)


def _key(value: Any) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)

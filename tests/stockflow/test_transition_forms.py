"""Forms for arguments: what a signature says is what is asked for."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Optional
from uuid import UUID

import pytest
from django import forms
from django.db import models

from stockflow.transition_forms import TransitionForm, form_of
from tests.crm.models import Rep

if TYPE_CHECKING:
    from collections.abc import Sized


class Colour(Enum):
    """A choice."""

    RED = 1
    BLUE = 2


class Size(models.TextChoices):
    """A choice with labels."""

    SMALL = "s", "Small one"


def asks(hint: Any, *default: Any) -> TransitionForm:
    """Return an unbound form for a method with one argument."""

    def method(self: Any, given: Any = default[0] if default else None) -> None: ...

    def required(self: Any, given: Any) -> None: ...

    chosen = method if default else required
    chosen.__annotations__["given"] = hint
    return form_of(chosen)()


def gets(hint: Any, text: str, *default: Any) -> Any:
    """Return what the method gets when *text* is filled in."""
    form = type(asks(hint, *default))({"given": text})
    assert form.is_valid(), form.errors
    return form.arguments()


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, "a", "a"),
        (int, "7", 7),
        (float, "1.5", 1.5),
        (Decimal, "1.50", Decimal("1.50")),
        (bool, "on", True),
        (bool, "", False),
        (date, "2026-03-03", date(2026, 3, 3)),
        (timedelta, "1 00:00:00", timedelta(days=1)),
        (UUID, str(UUID(int=1)), UUID(int=1)),
        (Colour, "2", Colour.BLUE),
        (Size, "s", Size.SMALL),
        (Literal[1, "b"], "1", 1),
        (int | None, "7", 7),
        (Optional[int], "", None),  # noqa: UP045  as older code has it
        (list, "x", "x"),
    ],
)
def test_values(hint: Any, text: str, value: Any) -> None:
    """A text becomes what the annotation says, or stays a text."""
    assert gets(hint, text) == {"given": value}


def test_an_instant_is_aware() -> None:
    """As the log wants it."""
    at = gets(datetime, "2026-03-03T10:00")["given"]

    assert at.tzinfo is not None


@pytest.mark.django_db
def test_an_object() -> None:
    """A model is a choice of its objects."""
    rep = Rep.objects.create(name="Ada", team="north")

    assert gets(Rep, str(rep.pk)) == {"given": rep}


@pytest.mark.parametrize("hint", [str, int, Colour, Literal["a", "b"]])
def test_what_must_be_given(hint: Any) -> None:
    """An argument without default is required."""
    form = type(asks(hint))({"given": ""})

    assert form.errors["given"] == ["This field is required."]


@pytest.mark.parametrize(("hint", "default"), [(int, 3), (str, "a"), (Colour, Colour.RED)])
def test_defaults(hint: Any, default: Any) -> None:
    """A default is shown, and left to the method where the field is empty."""
    assert asks(hint, default)["given"].initial in (default, "1")
    assert gets(hint, "", default) == {}


def test_an_unticked_box_is_false() -> None:
    """Though its default be true."""
    assert gets(bool, "", True) == {"given": False}


def test_names_that_only_a_type_checker_knows() -> None:
    """Then texts are asked for."""

    def method(self: Any, things: "Sized", *more: Any, **rest: Any) -> None: ...

    form = form_of(method)({"things": "two"})

    assert form.is_valid()
    assert form.arguments() == {"things": "two"}


def test_nothing_to_ask() -> None:
    """But for the reason."""

    def method(self: Any) -> None: ...

    form = form_of(method)({"stockflow_reason": "because"})

    assert (form.is_valid(), form.asks(), form.reason) == (True, False, "because")


@pytest.mark.parametrize("base", [forms.Form, TransitionForm])
def test_a_form_of_ones_own(base: Any) -> None:
    """It is asked instead, and the reason with it."""
    own = type("Own", (base,), {"sure": forms.BooleanField()})
    form = form_of(lambda self, sure: None, own)({"sure": "on", "stockflow_reason": "so"})

    assert form.is_valid()
    assert (form.arguments(), form.reason, form.asks()) == ({"sure": True}, "so", True)

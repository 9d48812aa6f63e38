"""The decorator: a ``django_fsm.transition`` that also decays and belongs to a flow."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any, ClassVar, TypeVar

import django_fsm
from django.db.models import F

from stockflow.domain.decay import Attribute, Delay, OnFalse

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Extras:
    """What :func:`transition` adds to a declaration, kept among its ``custom`` values."""

    KEY: ClassVar[str] = "stockflow"

    after: Delay | None = None
    flow: str = ""
    on_false: OnFalse = "retry"
    max_lateness: timedelta | None = None
    zone: tzinfo | None = None
    restarts_clock: bool = True
    order: int = 0
    """The place in the order of declaration; native transitions have none, and no decay."""


_declared = itertools.count(1)


def transition(
    field: Any,
    source: Any = "*",
    target: Any = None,
    on_error: Any = None,
    conditions: list[Callable[..., bool]] | None = None,
    permission: Any = None,
    custom: dict[str, Any] | None = None,
    *,
    after: Delay | F | None = None,
    flow: str = "",
    on_false: OnFalse = "retry",
    max_lateness: timedelta | None = None,
    tz: tzinfo | None = None,
    restarts_clock: bool = True,
) -> Callable[[Method], Method]:
    """Declare a method to be a transition of *field*.

    All that ``django_fsm.transition`` takes means what it means there; a method may be
    decorated several times, for several sources.

    Args:
        field: The :class:`StockField`, a reference to it (``Lead.temperature``) or its name.
        source: The state or states that it leaves; ``"*"`` for any, ``"+"`` for any but *target*.
        target: The state that it enters, ``RETURN_VALUE`` or ``GET_STATE``; None to change none.
        on_error: The state to enter when the method raises.
        conditions: Functions of the instance that must all be true.
        permission: What ``has_transition_perm`` asks for.
        custom: Values of your own.
        after: Makes it a decay: it happens by itself this long after *source* was entered. A
            length, ``F("trial_days")``, a calendar or a function: :data:`~stockflow.domain.decay.Delay`.
        flow: The name under which the history shows it; the method's own by default.
        on_false: What becomes of a decay whose conditions are false when it is due: ``"retry"``
            until they are true, ``"skip"`` for this stay, ``"park"`` for a person.
        max_lateness: A decay that is later than this is parked for a person.
        tz: The zone on whose wall clocks a calendar delay is counted; UTC by default.
        restarts_clock: Whether, from a state to itself, the state's decays begin anew.
    """
    delay = Attribute(vars(after)["name"]) if isinstance(after, F) else after
    extras = Extras(delay, flow, on_false, max_lateness, tz, restarts_clock, next(_declared))
    name: Any = getattr(field, "name", None) if hasattr(field, "model_labels") else field
    custom = {**(custom or {}), Extras.KEY: extras}
    return django_fsm.transition(name, source, target, on_error, conditions, permission, custom)

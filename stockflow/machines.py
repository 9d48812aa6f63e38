"""Reading the machine of a model's stock field off its decorated methods."""

from collections.abc import Iterator
from typing import Any

import django_fsm
from django.db import models

from stockflow.domain.machine import Machine, Rule
from stockflow.transitions import Extras

_machines: dict[tuple[type[models.Model], str], Machine] = {}


def machine_of(model: type[models.Model], name: str) -> Machine:
    """Return the machine of field *name* as *model* has it."""
    key = model, name
    if key not in _machines:
        _machines[key] = _build(model, name)
    return _machines[key]


def _build(model: type[models.Model], name: str) -> Machine:
    field: Any = model._meta.get_field(name)
    default = field.get_default()
    rules = [rule for method in _methods(field, model) for rule in _rules(method)]
    return Machine(
        initial=str.__str__(default) if isinstance(default, str) else "",
        choices=tuple(str(value) for value, _ in field.flatchoices),
        rules=tuple(rules),
    )


def _methods(field: Any, model: type[models.Model]) -> list[Any]:
    # In the order of declaration: of two decays due at once the first declared one wins.
    methods = field.transitions.get(model, {}).values()
    return sorted(
        methods, key=lambda method: min(map(_order, method._django_fsm.transitions.values()))
    )


def _order(declared: Any) -> int:
    extras: Extras = declared.custom.get(Extras.KEY, Extras())
    return extras.order


def _rules(method: Any) -> Iterator[Rule]:
    for source, declared in method._django_fsm.transitions.items():
        extras: Extras = declared.custom.get(Extras.KEY, Extras())
        yield Rule(
            transition=method.__name__,
            source=str.__str__(source),
            targets=_targets(declared.target),
            delay=extras.after,
            flow=extras.flow,
            on_error=declared.on_error and str.__str__(declared.on_error),
            on_false=extras.on_false,
            max_lateness=extras.max_lateness,
            zone=extras.zone,
            restarts_clock=extras.restarts_clock,
        )


def _targets(target: Any) -> tuple[str, ...] | None:
    if target is None:
        return ()
    if isinstance(target, django_fsm.State):
        return tuple(map(str.__str__, target.allowed_states)) or None
    return (str.__str__(target),)


def names_between(
    model: type[models.Model], name: str, source: str, target: str
) -> list[tuple[str, bool]]:
    """Return the transitions of field *name* from *source* to *target*, the best first.

    Those of one target come before those that compute it, decays last.

    Returns:
        Each method's name, and whether its target is computed.
    """
    found: list[tuple[bool, bool, str]] = []
    for method in _methods(model._meta.get_field(name), model):
        if not method._django_fsm.has_transition(source):
            continue
        declared = method._django_fsm.get_transition(source)
        targets = _targets(declared.target)
        if targets is None or target in targets:
            is_decay = declared.custom.get(Extras.KEY, Extras()).after is not None
            is_computed = isinstance(declared.target, django_fsm.State)
            found.append((is_decay, is_computed, method.__name__))
    found.sort(key=lambda one: one[:2])
    return [(method, is_computed) for _, is_computed, method in found]


def offered_names(model: type[models.Model], name: str) -> list[str]:
    """Return the transitions of field *name* that do not happen by themselves, as declared."""
    rules = machine_of(model, name).rules
    decays = {rule.transition for rule in rules if rule.delay is not None}
    return [name for name in dict.fromkeys(rule.transition for rule in rules) if name not in decays]

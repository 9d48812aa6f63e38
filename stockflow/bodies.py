"""What a transition runs: a method with a body, conditions and listeners may do anything, or fail."""

import dis
from types import FunctionType
from typing import Any

import django_fsm
from django_fsm.signals import post_transition, pre_transition

_NOTHING = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
"""All that a function does that has no statement, or ``pass``, or a docstring, or ``...``."""


def is_empty(method: Any) -> bool:
    """Whether the *method* of a transition does nothing, and takes nothing but its object."""
    body = getattr(method, "__wrapped__", None)
    if not isinstance(body, FunctionType) or not _is_the_decorators(method):
        return False
    takes_self_only = body.__code__.co_argcount == 1 and not body.__code__.co_kwonlyargcount
    return takes_self_only and all(i.opname in _NOTHING for i in dis.get_instructions(body))


def has_listeners(model: type[Any]) -> bool:
    """Whether somebody is told of each transition of *model*'s objects."""
    return bool(pre_transition.has_listeners(model) or post_transition.has_listeners(model))


def may_fail(model: type[Any], name: str) -> bool:
    """Whether making the transition *name* runs anything that an application wrote."""
    method = getattr(model, name)
    rules = method._django_fsm.transitions.values()
    return not is_empty(method) or has_listeners(model) or any(rule.conditions for rule in rules)


def _is_the_decorators(method: Any) -> bool:
    """Whether nothing was wrapped around what django-fsm made of the method."""
    return isinstance(method, FunctionType) and method.__code__.co_filename == django_fsm.__file__

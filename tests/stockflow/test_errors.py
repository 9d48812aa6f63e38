"""Errors: one tree, plain arguments, so that queues and parallel tests can carry them."""

import pickle

import django_fsm
import pytest
from django.core.exceptions import ImproperlyConfigured

from stockflow.domain import errors as domain_errors
from stockflow.domain.errors import StockflowError
from stockflow.errors import ConcurrentTransition, InvalidDeclaration


def _family(error: type[StockflowError]) -> list[type[StockflowError]]:
    children = sorted(error.__subclasses__(), key=lambda each: each.__name__)
    return [error, *(each for child in children for each in _family(child))]


@pytest.mark.parametrize("error", _family(StockflowError), ids=lambda error: error.__name__)
def test_an_error_survives_a_pickle(error: type[StockflowError]) -> None:
    """With its type and its text."""
    own = vars(error).get("__init__")
    facts = own.__code__.co_argcount - 1 if own else 1
    made = error(*(["what, where, what to do"] * facts))
    again = pickle.loads(pickle.dumps(made))

    assert type(again) is error
    assert str(again) == str(made)
    assert "what, where, what to do" in str(again)


@pytest.mark.parametrize("error", _family(StockflowError)[1:], ids=lambda error: error.__name__)
def test_an_error_stands_in_the_tree(error: type[StockflowError]) -> None:
    """Drawn at the top of the module, or the module of the write side has it."""
    drawn = domain_errors.__doc__ or ""

    assert error.__name__ in drawn or error is InvalidDeclaration


def test_errors_are_also_what_their_framework_expects() -> None:
    """Code written for django-fsm or Django catches them."""
    assert issubclass(ConcurrentTransition, django_fsm.ConcurrentTransition)
    assert issubclass(InvalidDeclaration, ImproperlyConfigured)
    assert issubclass(domain_errors.InvalidInstant, ValueError)

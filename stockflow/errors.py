"""Errors of the write side that also belong to a framework's tree."""

import django_fsm
from django.core.exceptions import ImproperlyConfigured

from stockflow.domain.errors import StockflowError


class ConcurrentTransition(StockflowError, django_fsm.ConcurrentTransition):
    """The row is no longer as this instance knew it: another writer was first."""


class InvalidDeclaration(StockflowError, ImproperlyConfigured):
    """A model, stock or flow is declared in a way that cannot work."""

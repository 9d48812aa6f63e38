"""Errors of the write side that also belong to a framework's tree."""

import django_fsm
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import TransactionManagementError

from stockflow.domain.errors import StockflowError


class ConcurrentTransition(StockflowError, django_fsm.ConcurrentTransition):
    """The row is no longer as this instance knew it: another writer was first."""


class InvalidDeclaration(StockflowError, ImproperlyConfigured):
    """A model, stock or flow is declared in a way that cannot work."""


class InvalidSelection(StockflowError, ValueError):
    """A stock, a facet's value or a place in a walk that a query string cannot mean."""


class InsideTransaction(StockflowError, TransactionManagementError):
    """What makes transactions of its own was called inside one."""


class ScheduleFailed(StockflowError):
    """A decay, what it left to ``on_commit`` or a periodic job failed; the others were done."""


class InvalidIsolation(StockflowError, ImproperlyConfigured):
    """The database's transactions see too little for what was asked."""

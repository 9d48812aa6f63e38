"""Event-sourced state machines for Django, for business metrics.

Public names that need no app registry; models, fields and the decorator are in
:mod:`stockflow.models`, declarations of stocks and flows in :mod:`stockflow.projections`.
"""

from stockflow.contexts import context
from stockflow.domain.errors import StockflowError
from stockflow.errors import ConcurrentTransition

__all__ = ["ConcurrentTransition", "StockflowError", "context"]

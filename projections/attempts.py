"""Attempts to fold: a range of positions is folded as a whole, or raises and leaves nothing."""

from django.db import transaction
from django.db.transaction import TransactionManagementError

from stockflow.projections.base import Projection
from stockflow.projections.models import Generation


def attempt(
    projection: Projection, generation: Generation, after: int, until: int, *, using: str
) -> None:
    """Fold the events after one position and up to another, or undo all of it.

    Raises:
        TransactionManagementError: If the projection caught an error of the database, after which
            Django undoes the whole attempt, and says so to nobody.
    """
    with transaction.atomic(using=using):
        projection.fold(generation, after, until, using=using)
        if transaction.get_rollback(using=using):
            raise TransactionManagementError(
                "an error of the database was caught, and with it all that was folded is undone: "
                "catch it around transaction.atomic(using=batch.using)"
            )

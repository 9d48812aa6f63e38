"""Who may see what is counted: who may view the objects."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied

from stockflow.projections.stocks import Stock


def may_view(user: Any, stocks: Iterable[Stock]) -> bool:
    """Return whether *user* may view or change the objects of each stock's model."""
    metas = {stock.subject_model._meta for stock in stocks}
    return all(
        any(
            user.has_perm(f"{meta.app_label}.{get_permission_codename(action, meta)}")
            for action in ("view", "change")
        )
        for meta in metas
    )


def require_view(user: Any, stocks: Iterable[Stock]) -> None:
    """Refuse who may not see them.

    Raises:
        PermissionDenied: If a permission is missing.
    """
    if not may_view(user, stocks):
        raise PermissionDenied

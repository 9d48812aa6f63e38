"""The log lives in the database of its subject: what keeps them together."""

from typing import Any

from django.apps import apps
from django.db import router

from stockflow.errors import InvalidDeclaration
from stockflow.subjects import stock_fields
from stockflow.tables import Event


def refuse_parted_models(using: str) -> None:
    """As :func:`refuse_parted`, for any object in the database *using*."""
    if router.routers:
        for model in apps.get_models():
            if stock_fields(model):
                refuse_parted_model(model, using)


def refuse_parted_model(model: type[Any], using: str) -> None:
    """As :func:`refuse_parted`, for any object of *model* in the database *using*."""
    hint = model()
    hint._state.db = using
    refuse_parted(hint)


def refuse_parted(instance: Any) -> None:
    """Refuse to write where the routers put an object and its log into two databases.

    No transaction spans both, so one of them could be written without the other.

    Raises:
        InvalidDeclaration: If they do.
    """
    if not router.routers:
        return
    subject = router.db_for_write(type(instance), instance=instance)
    log = router.db_for_write(Event, instance=instance)
    if subject != log:
        raise InvalidDeclaration(
            f"The routers write {instance._meta.label} to the database {subject!r} and its log to "
            f"{log!r}, so they could not be saved in one transaction. Let db_for_write() send the "
            "app 'stockflow' where its subjects go, or leave it to the instance in the hints."
        )

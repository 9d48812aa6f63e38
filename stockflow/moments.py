"""When what is called happened, and who says so."""

from datetime import datetime
from typing import Any

from stockflow import conf, contexts
from stockflow.contexts import Circumstances
from stockflow.domain.errors import InvalidInstant, LateEntry
from stockflow.ledgers import ledger_of
from stockflow.tables import STOCKFLOW, Event, Kind

SCHEDULE = "stockflow.schedule"
"""The actor of a decay."""


def moment(instance: Any) -> tuple[datetime, Circumstances]:
    """Return when what is called now happened, and under which circumstances.

    Raises:
        InvalidInstant: If the context's ``at=`` lies in the future.
        LateEntry: If it lies before the object's last event, or at or before a decay.
    """
    circumstances = contexts.current()
    now = conf.now(instance._state.db or "default")
    last: datetime | None = instance.stock_changed_at
    if circumstances.at is None:
        return (now if last is None else max(now, last)), circumstances
    if circumstances.at > now:
        raise InvalidInstant(
            f"at={circumstances.at.isoformat()} lies in the future of {instance._meta.label} "
            f"{instance.pk!r}: it is {now.isoformat()}. Only what has happened can be recorded."
        )
    if last is not None and circumstances.at <= last:
        _refuse_late_entry(instance, circumstances.at, last)
    return circumstances.at, circumstances


def _refuse_late_entry(instance: Any, at: datetime, last: datetime) -> None:
    """Refuse what is before the last event, or at the instant of a recorded decay."""
    decay = None if ledger_of(instance).pending else _decay(instance)
    if at == last and decay is None:
        return
    what = f"the decay {decay!r} was recorded at" if decay else "its last event is of"
    raise LateEntry(
        f"at={at.isoformat()} is too early for {instance._meta.label} {instance.pk!r}: {what} "
        f"{last.isoformat()}. Record an object's past in order, before the schedule runs."
    )


def _decay(instance: Any) -> str | None:
    """Return the transition of the object's last event, if the schedule made it happen."""
    events = Event.objects.using(instance._state.db or "default").filter(
        application=STOCKFLOW,
        originator=str(instance.stock_lifecycle),
        version__lte=instance.stock_version,
    )
    moved = events.exclude(kind=Kind.ERASED).order_by("-version")
    actor, transition = moved.values_list("actor", "transition").first() or ("", None)
    return transition if actor == SCHEDULE else None

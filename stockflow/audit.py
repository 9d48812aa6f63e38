"""``manage.py stockflow audit``: one object's history, in a terminal."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from stockflow import history
from stockflow.fields import family
from stockflow.subcommands import Subcommand, add_database, register

_HEADERS = (
    "when (UTC)",
    "recorded",
    "field",
    "from",
    "to",
    "flow",
    "stayed",
    "actor",
    "reason",
    "cause",
    "data",
)


def add_object(parser: CommandParser) -> None:
    """Let one object be named, as :func:`named` finds it."""
    parser.add_argument("model", nargs="?", metavar="app.Model", help="The object's model.")
    parser.add_argument("key", nargs="?", metavar="KEY", help="Its primary key.")
    parser.add_argument("--lifecycle", metavar="UUID", help="Its stream, for a deleted object.")
    add_database(parser)


def _run(
    command: BaseCommand,
    *,
    model: str | None,
    key: str | None,
    lifecycle: str | None,
    database: str,
    **options: Any,
) -> None:
    title, stream = named(model, key, lifecycle, database)
    command.stdout.write(command.style.MIGRATE_HEADING(title))
    entries = history.of_lifecycle(stream, using=database)
    for line in table([_HEADERS, *(_row(entry) for entry in entries)]):
        command.stdout.write(line)


def named(
    model: str | None, key: str | None, lifecycle: str | None, database: str
) -> tuple[str, uuid.UUID]:
    """Return what the object is called that :func:`add_object` has named, and its lifecycle.

    Raises:
        CommandError: If there is none, or nothing is recorded of it.
    """
    from stockflow.tables import STOCKFLOW, Event  # noqa: PLC0415  needs the app registry

    if (lifecycle is None) == (model is None or key is None):
        raise CommandError("Name an object: app.Model KEY, or --lifecycle UUID for a deleted one.")
    if lifecycle is None:
        title, stream = _find(str(model), str(key), database)
    else:
        title, stream = f"Lifecycle {lifecycle}", parse_lifecycle(lifecycle)
    events = Event.objects.using(database).filter(application=STOCKFLOW, originator=str(stream))
    if not events.exists():
        raise CommandError(
            f"Nothing is recorded of lifecycle {stream}. Is it from another database?"
        )
    return title, stream


def _find(label: str, key: str, database: str) -> tuple[str, uuid.UUID]:
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        model = None
    if model is None or not issubclass(model, StockflowModel):
        known = sorted(m._meta.label for m in apps.get_models() if issubclass(m, StockflowModel))
        raise CommandError(f"{label!r} has no stock history. Models that have: {', '.join(known)}.")
    try:
        row = model._base_manager.using(database).filter(pk=key).first()
    except (ValueError, ValidationError):
        raise CommandError(f"{key!r} is no key of {model._meta.label}.") from None
    if row is None:
        deleted = "".join(f"\n--lifecycle {one}" for one in _deleted(model, key, database))
        raise CommandError(
            f"There is no {model._meta.label} {key!r}. If it was deleted, its history is found by "
            f"--lifecycle UUID. Deleted with that key: {deleted or 'none is recorded.'}"
        )
    if row.stock_lifecycle is None:
        raise CommandError(
            f"{model._meta.label} {key!r} has no history yet: it begins with its first transition."
        )
    return (
        f"{model._meta.label} {key}: {row} (lifecycle {row.stock_lifecycle})",
        row.stock_lifecycle,
    )


def _deleted(model: Any, key: str, database: str) -> list[str]:
    """Return the lifecycles of objects of *model* that had the *key* when they left."""
    from stockflow.tables import Event, Kind  # noqa: PLC0415  needs the app registry

    labels = [one._meta.label_lower for one in family(model)]  # the log names the class that it was
    left = Event.objects.using(database).filter(model__in=labels, kind=Kind.LEFT)
    found = left.exclude(payload=None).order_by("id").values_list("originator", "payload")
    told = ((one, json.loads(bytes(payload or b"{}"))) for one, payload in found.iterator())
    return [*dict.fromkeys(one for one, payload in told if payload.get("key") == key)]


def parse_lifecycle(lifecycle: str) -> uuid.UUID:
    """Return the UUID that *lifecycle* is."""
    try:
        return uuid.UUID(lifecycle)
    except ValueError:
        raise CommandError(
            f"{lifecycle!r} is no lifecycle: a UUID such as {uuid.UUID(int=0)} is."
        ) from None


def _row(entry: history.Entry) -> tuple[str, ...]:
    return (
        f"{entry.occurred_at:%Y-%m-%d %H:%M:%S}",
        f"{entry.recorded_at:%Y-%m-%d %H:%M:%S}",
        entry.field,
        entry.source or "(outside)",
        entry.target or "(outside)",
        entry.flow or f"({entry.kind})",
        "" if entry.spent is None else length(entry.spent) + (" so far" if entry.is_open else ""),
        entry.actor,
        entry.reason,
        _cause(entry),
        json.dumps(entry.data, ensure_ascii=False) if entry.data else "",
    )


def _cause(entry: history.Entry) -> str:
    """Return which timer made a decay happen."""
    if entry.due_at is None:
        return ""
    return f"timer of v{entry.clock_version or '?'}, due {entry.due_at:%Y-%m-%d %H:%M:%S}"


def length(length: timedelta) -> str:
    """Return *length* to the second, such as ``3 d 04:00:00``."""
    seconds = length // timedelta(seconds=1)
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{length.days:,} d {clock}"


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return *rows* as aligned lines, without the columns that are empty."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


register(
    "audit",
    Subcommand("Show one object's history: who, what, when, why.", add_object, _run),
)

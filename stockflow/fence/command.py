"""``manage.py stockflow reconcile``: shows where rows and log disagree, and mends it."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from stockflow.fence.catching_up import catch_up, trackers_of
from stockflow.fence.catching_up import differences as missed
from stockflow.fence.comparing import Difference, differences
from stockflow.fence.reconciling import fenced_model, reconcile
from stockflow.fence.subjects import Fenced, fenced_tables
from stockflow.subcommands import Subcommand, add_database, register
from stockflow.tracker import ModelTracker

_HEADERS = ("object", "field", "the row says", "the log says")
_WIDTHS = (44, 16, 36, 0)


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("model", nargs="?", metavar="app.Model", help="Only this model's objects.")
    parser.add_argument(
        "--apply", action="store_true", help="Append a `reconciled` event for each difference."
    )
    add_database(parser)


def _run(
    command: BaseCommand, *, model: str | None, apply: bool, database: str, **options: Any
) -> None:
    trackers = _trackers(model, database)
    tables = _tables(model, database, trackers)
    found = chain(
        (catch_up if apply else missed)(database, trackers), _found(tables, database, apply=apply)
    )
    number = 0
    for number, difference in enumerate(found, 1):
        if number == 1:
            command.stdout.write(command.style.MIGRATE_HEADING(_line(_HEADERS)))
        command.stdout.write(_line(_cells(difference)))
    command.stdout.write(_summary(command, number, apply=apply))


def _found(tables: Collection[Fenced], database: str, *, apply: bool) -> Iterator[Difference]:
    return reconcile(database, tables) if apply else differences(database, tables)


def _trackers(model: str | None, database: str) -> list[ModelTracker]:
    if model is None:
        return trackers_of(database)
    try:
        return trackers_of(database, apps.get_model(model))
    except (LookupError, ValueError):
        return []


def _tables(
    model: str | None, database: str, trackers: Collection[ModelTracker]
) -> Collection[Fenced]:
    tables = fenced_tables(database)
    if model is None:
        return tables
    try:
        chosen = fenced_model(model, tables)
    except (LookupError, ValueError):
        chosen = []
    for tracker in trackers:
        own = fenced_model(tracker.companion._meta.label, tables)
        chosen += [table for table in own if table not in chosen]
    if not chosen:
        known = ", ".join(sorted(map(str, tables)))
        raise CommandError(
            f"{model!r} has no stock history in {database!r}. Models that have: {known}."
        )
    return chosen


def _cells(difference: Difference) -> tuple[str, ...]:
    name = f"{difference.model} {difference.key or difference.lifecycle}"
    return name, difference.field or "(version)", difference.row, difference.log


def _line(cells: tuple[str, ...]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join(padded).rstrip()


def _summary(command: BaseCommand, number: int, *, apply: bool) -> str:
    if not number:
        return command.style.SUCCESS("Every row is as its last event says.")
    differences = f"{number:,} difference{'' if number == 1 else 's'}"
    if apply:
        return command.style.SUCCESS(f"Recorded {differences}.")
    return f"Found {differences}. Nothing is changed: --apply records what the rows say."


register(
    "reconcile",
    Subcommand(
        "Show rows that disagree with their last event; --apply records them.", _add_arguments, _run
    ),
)

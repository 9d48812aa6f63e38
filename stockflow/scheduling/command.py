"""``manage.py stockflow schedule``, ``reschedule`` and ``release``: the timers, seen and moved."""

from datetime import datetime
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from stockflow.audit import table
from stockflow.domain.instants import from_micros
from stockflow.subcommands import Subcommand, add_database, register
from stockflow.subjects import stock_fields

SHOWN = 20


def _add_schedule_arguments(parser: CommandParser) -> None:
    parser.add_argument("--days", type=int, default=7, help="How many days ahead (default: 7).")
    add_database(parser)


def _schedule(command: BaseCommand, *, days: int, database: str, **options: Any) -> None:
    from stockflow.scheduling.overview import backlog, waiting  # noqa: PLC0415  needs the app registry
    from stockflow.tables import ScheduledTransition  # noqa: PLC0415  as above

    if not 1 <= days <= 366:
        raise CommandError(f"--days is {days}: give a number from 1 to 366.")
    starts, found = waiting(days, using=database)
    titles = ("field", "transition", "overdue", *(f"{day:%m-%d}" for day in starts))
    rows = [(*titles, "later", "parked")]
    for each in found:
        numbers = (each.overdue, *each.by_day, each.later, each.parked)
        name = f"{each.model}.{each.field}"
        rows.append((name, each.transition, *(f"{n:,}" if n else "" for n in numbers)))
    if not found:
        command.stdout.write("Nothing is scheduled.")
        return
    command.stdout.write("\n".join(table(rows)))
    command.stdout.write(str(backlog(using=database)))
    parked = ScheduledTransition.objects.using(database).filter(parked_at__isnull=False)
    for timer in parked.order_by("due_at", "id")[:SHOWN]:
        due = from_micros(timer.due_at)
        command.stdout.write(f"parked: {timer}, due {due:%Y-%m-%d %H:%M:%S} UTC: {timer.error}")


def _add_reschedule_arguments(parser: CommandParser) -> None:
    parser.add_argument("label", metavar="app.Model", help="Such as crm.Lead.")
    parser.add_argument("--field", help="The stock field, where there are several.")
    parser.add_argument(
        "--apply", action="store_true", help="Record it; else it is only shown what would move."
    )
    add_database(parser)


def _reschedule(
    command: BaseCommand,
    *,
    label: str,
    field: str | None,
    apply: bool,
    database: str,
    verbosity: int,
    **options: Any,
) -> None:
    from stockflow.rescheduling import reschedule  # noqa: PLC0415  needs the app registry

    model = _model(label)
    names = [f.name for f in stock_fields(model)]
    if field not in names:
        if field is not None or len(names) != 1:
            raise CommandError(
                f"{label} has the stock fields {', '.join(names)}: give one by --field."
            )
        field = names[0]
    number = 0
    for chunk in reschedule(model, field, using=database, apply=apply):
        for moved in chunk[: max(0, SHOWN - number)] if verbosity else ():
            command.stdout.write(
                f"{label} {moved.key}, {moved.state!r}: {_at(moved.before)} -> {_at(moved.after)}"
            )
        number += len(chunk)
    said = "Moved" if apply else "Would move"
    command.stdout.write(command.style.SUCCESS(f"{said} {number:,} due instants."))
    if number and not apply:
        command.stdout.write("Nothing is written: repeat with --apply.")


def _model(label: str) -> Any:
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        model = None
    if model is None or not issubclass(model, StockflowModel):
        raise CommandError(f"{label!r} is no model with stock fields: name one such as crm.Lead.")
    return model


def _at(instant: datetime | None) -> str:
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"


def _add_release_arguments(parser: CommandParser) -> None:
    parser.add_argument("--model", metavar="app.Model", help="Only those of this model.")
    parser.add_argument("--transition", help="Only those of this transition.")
    parser.add_argument("--lifecycle", metavar="UUID", help="Only that of this object.")
    add_database(parser)


def _release(
    command: BaseCommand,
    *,
    model: str | None,
    transition: str | None,
    lifecycle: str | None,
    database: str,
    **options: Any,
) -> None:
    from stockflow.audit import parse_lifecycle  # noqa: PLC0415  beside what needs the registry
    from stockflow.scheduling.parking import release  # noqa: PLC0415  needs the app registry
    from stockflow.tables import ScheduledTransition  # noqa: PLC0415  as above

    timers = ScheduledTransition.objects.using(database)
    chosen = timers.all()
    if model is not None:
        chosen = chosen.filter(model=_model(model)._meta.label_lower)
    if transition is not None:
        chosen = chosen.filter(transition=transition)
    if lifecycle is not None:
        chosen = chosen.filter(lifecycle=parse_lifecycle(lifecycle))
    number = release(chosen)
    command.stdout.write(command.style.SUCCESS(f"Released {number:,} scheduled transitions."))


register(
    "schedule",
    Subcommand("Show what is due when, by transition and day.", _add_schedule_arguments, _schedule),
)
register(
    "reschedule",
    Subcommand(
        "Move what is scheduled to what the delays in the code say now.",
        _add_reschedule_arguments,
        _reschedule,
    ),
)
register(
    "release",
    Subcommand("Let parked decays be tried again.", _add_release_arguments, _release),
)

"""``manage.py stockflow parked``: events that projections set aside, seen and released."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from stockflow.subcommands import Subcommand, add_database, register

SHOWN = 20


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="Of which projections (default: all)."
    )
    parser.add_argument("--lifecycle", metavar="UUID", help="Only those of this object.")
    parser.add_argument(
        "--release",
        action="store_true",
        help="Fold them as now they can be, each object's in order.",
    )
    add_database(parser)


def _parked(
    command: BaseCommand,
    *,
    names: list[str],
    lifecycle: str | None,
    release: bool,
    database: str,
    **options: Any,
) -> None:
    from stockflow.projections import base, parking  # noqa: PLC0415  needs the app registry
    from stockflow.projections.models import ParkedEvent  # noqa: PLC0415  as above

    chosen = parking.of_projections(ParkedEvent.objects.using(database))
    chosen = chosen.order_by("generation", "position")
    if names:
        try:
            chosen = chosen.filter(projection__in=[base.find(name).name for name in names])
        except base.UnknownProjection as error:
            raise CommandError(str(error)) from None
    if lifecycle is not None:
        chosen = chosen.filter(originator=lifecycle)
    if release:
        try:
            done = parking.release(chosen)
        except (base.UnknownProjection, parking.GenerationOutdated) as error:
            raise CommandError(str(error)) from None
        text = f"Folded {done.folded:,} parked events; {done.parked:,} are parked still."
        command.stdout.write(command.style.SUCCESS(text))
        return
    for one in chosen[:SHOWN]:
        command.stdout.write(f"{one}: {one.error or 'waits behind an earlier one'}")
    command.stdout.write(f"{chosen.count():,} events are parked.")


register(
    "parked",
    Subcommand(
        "Show the events that projections could not fold and set aside, or let them be folded.",
        _add_arguments,
        _parked,
    ),
)

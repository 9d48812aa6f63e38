"""``manage.py stockflow erase``: destroys what the log says of people, for one object."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from stockflow.audit import add_object, named
from stockflow.contexts import context
from stockflow.subcommands import Subcommand, register


def _add_arguments(parser: CommandParser) -> None:
    add_object(parser)
    parser.add_argument("--actor", default="", help="Who erases: it is kept.")
    parser.add_argument("--reason", default="", help="Why: it is kept, so name no person.")
    parser.add_argument("--apply", action="store_true", help="Erase. It cannot be undone.")


def _run(
    command: BaseCommand,
    *,
    model: str | None,
    key: str | None,
    lifecycle: str | None,
    actor: str,
    reason: str,
    apply: bool,
    database: str,
    **options: Any,
) -> None:
    from stockflow.erasure import erasable, erase  # noqa: PLC0415  need the app registry

    title, stream = named(model, key, lifecycle, database)
    command.stdout.write(command.style.MIGRATE_HEADING(title))
    if not apply:
        number = erasable(stream, database)
        if not number:
            command.stdout.write("Its events say nothing that can be erased.")
            return
        events = "1 event says" if number == 1 else f"{number:,} events say"
        command.stdout.write(f"{events} who, why, with what data or of which key.")
        command.stdout.write("Nothing is erased: repeat with --apply, which cannot be undone.")
        return
    with context(actor=actor, reason=reason):
        number = erase(stream, using=database)
    command.stdout.write(
        command.style.SUCCESS(f"Erased what {number:,} event{'' if number == 1 else 's'} said.")
    )


register(
    "erase",
    Subcommand(
        "Show how much the log says of people in one object's history; --apply destroys it.",
        _add_arguments,
        _run,
    ),
)

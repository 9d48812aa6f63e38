"""``manage.py stockflow calls``: the calls of event callables that wait, and those set aside."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from stockflow.audit import table
from stockflow.subcommands import Subcommand, add_database, register

SHOWN = 20


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--flow", metavar="SLUG", help="Only those of this flow.")
    parser.add_argument("--name", help="Only those of the event callable of this name.")
    parser.add_argument(
        "--release", action="store_true", help="Let the parked ones be tried again."
    )
    add_database(parser)


def _calls(
    command: BaseCommand,
    *,
    flow: str | None,
    name: str | None,
    release: bool,
    database: str,
    **options: Any,
) -> None:
    from stockflow.projections import calling  # noqa: PLC0415  needs the app registry
    from stockflow.projections.event_calls import EventCall  # noqa: PLC0415  as above

    chosen = EventCall.objects.using(database).order_by("flow", "name", "position")
    if flow is not None:
        chosen = chosen.filter(flow=flow)
    if name is not None:
        chosen = chosen.filter(name=name)
    if release:
        number = calling.release(chosen)
        command.stdout.write(command.style.SUCCESS(f"Released {number:,} calls."))
        return
    counts = Counter[tuple[str, str, str]]()
    for slug, of, attempts, parked in chosen.values_list("flow", "name", "attempts", "parked_at"):
        state = "parked" if parked else "failing" if attempts else "waiting"
        counts[slug, of, state] += 1
    if not counts:
        command.stdout.write("Nothing waits to be called.")
        return
    rows: list[tuple[str, ...]] = [("flow", "callable", "waiting", "failing", "parked")]
    for slug, of in dict.fromkeys((slug, of) for slug, of, _ in counts):
        numbers = [counts[slug, of, state] for state in ("waiting", "failing", "parked")]
        rows.append((slug, of, *(f"{n:,}" if n else "" for n in numbers)))
    command.stdout.write("\n".join(table(rows)))
    for call in chosen.filter(parked_at__isnull=False)[:SHOWN]:
        command.stdout.write(f"parked: {call} of {call.originator}: {call.error}")


register(
    "calls",
    Subcommand(
        "Show the calls of event callables that wait or failed, or release the parked ones.",
        _add_arguments,
        _calls,
    ),
)

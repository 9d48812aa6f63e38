"""Fire what is due: from cron, as often as you like."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS
from tqdm import tqdm

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import require_instant
from stockflow.scheduling.decays import Failure, count_due, fire_due

SHOWN = 10


class Command(BaseCommand):
    """Fires the decays that are due."""

    help = "Fire the decays that are due. Call it from cron; it may be interrupted and repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--until",
            metavar="INSTANT",
            help="The last due instant to fire, such as 2026-09-22T00:00:00Z (default: now).",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS")

    def handle(
        self, *args: Any, until: str | None, database: str, verbosity: int, **options: Any
    ) -> None:
        last = _until(until, database)
        fired, held, failures = 0, 0, list[Failure]()
        quiet = None if verbosity else True  # None: draw only on a terminal
        total = count_due(last, using=database)
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=total, unit=" decays", desc="Firing decays", disable=quiet) as bar:
            for chunk in fire_due(last, using=database):
                fired, held = fired + chunk.fired, held + len(chunk.held)
                failures += chunk.failures.values()
                bar.total = max(total, fired)
                bar.update(chunk.fired)
        if verbosity:
            self._report(fired, held, last)
        if failures:
            raise CommandError(_message(failures))

    def _report(self, fired: int, held: int, last: datetime) -> None:
        self.stdout.write(
            self.style.SUCCESS(f"Fired {_decays(fired)} due until {last:%Y-%m-%d %H:%M:%S} UTC.")
        )
        if held:
            self.stdout.write(f"Held back {_decays(held)} whose conditions are false.")


def _decays(number: int) -> str:
    return f"{number:,} decay{'' if number == 1 else 's'}"


def _until(text: str | None, database: str) -> datetime:
    now = conf.now(database)
    if text is None:
        return now
    try:
        until = require_instant(datetime.fromisoformat(text), "--until")
    except InvalidInstant as error:
        raise CommandError(f"{error} For example: --until {now:%Y-%m-%dT%H:%M:%S}Z") from None
    except ValueError:
        raise CommandError(
            f"--until is no instant: {text!r}. For example: --until {now:%Y-%m-%dT%H:%M:%S}Z"
        ) from None
    if until > now:
        raise CommandError(
            f"--until {text} lies in the future: it is {now:%Y-%m-%dT%H:%M:%S}Z. "
            "A decay happens when it is due, never before."
        )
    return until


def _message(failures: list[Failure]) -> str:
    lines = [f"{_decays(len(failures))} could not be fired; the others were:"]
    lines += [f"  {failure}" for failure in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  ... and {len(failures) - SHOWN:,} more.")
    return "\n".join(lines)

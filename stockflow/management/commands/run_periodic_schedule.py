"""Fire what is due: from cron, as often as you like, or as a process that stays."""

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS
from tqdm import tqdm

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import require_instant
from stockflow.scheduling.daemon import loop, stopping
from stockflow.scheduling.decays import count_due, fire_due
from stockflow.scheduling.outcomes import Failure
from stockflow.scheduling.runs import run_jobs

SHOWN = 10


class Command(BaseCommand):
    """Fires the decays that are due, and runs the periodic jobs."""

    help = (
        "Fire the decays that are due, and run the periodic jobs. Call it from cron, or with --loop "
        "as a service; it may be interrupted and repeated. On PostgreSQL any number may run at "
        "once and share the work; on SQLite a second one gains nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--until",
            metavar="INSTANT",
            help="The last due instant to fire, such as 2026-09-22T00:00:00Z (default: now).",
        )
        parser.add_argument(
            "--loop",
            action="store_true",
            help="Stay, sleep until something is due, and stop at SIGTERM after the chunk at hand.",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS")

    def handle(
        self,
        *args: Any,
        until: str | None,
        database: str,
        verbosity: int,
        **options: Any,
    ) -> None:
        if options["loop"]:
            if until is not None:
                raise CommandError("--loop fires what is due by then; leave out --until.")
            self._stay(database, verbosity)
            return
        last = _until(until, database)
        failures = self._fire(last, database, verbosity, threading.Event())
        errors = [_message(failures)] if failures else []
        errors += self._run_jobs(database, threading.Event())
        if errors:
            raise CommandError("\n".join(errors))

    def _stay(self, database: str, verbosity: int) -> None:
        def work(stop: threading.Event) -> None:
            failures = self._fire(conf.now(database), database, 0, stop)
            if failures:
                self.stderr.write(_message(failures))
            for error in self._run_jobs(database, stop):
                self.stderr.write(error)

        with stopping() as stop:
            loop(work, stop, using=database)
        if verbosity:
            self.stdout.write(self.style.SUCCESS("Stopped; nothing is left half done."))

    def _fire(
        self, last: datetime, database: str, verbosity: int, stop: threading.Event
    ) -> list[Failure]:
        fired, held, failures = 0, 0, list[Failure]()
        quiet = None if verbosity else True  # None: draw only on a terminal
        total = count_due(last, using=database) if verbosity else 0
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=total, unit=" decays", desc="Firing decays", disable=quiet) as bar:
            for chunk in fire_due(last, using=database):
                fired, held = fired + chunk.fired, held + len(chunk.held)
                failures += chunk.failures.values()
                bar.total = max(total, fired)
                bar.update(chunk.fired)
                if stop.is_set():
                    break
        if verbosity:
            self._report(fired, held, last)
        return failures

    def _run_jobs(self, database: str, stop: threading.Event) -> Iterable[str]:
        if stop.is_set():
            return
        for run in run_jobs(using=database):
            if run.error:
                yield f"The periodic job {run.name!r} failed:\n{run.error}"
            if stop.is_set():
                return

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

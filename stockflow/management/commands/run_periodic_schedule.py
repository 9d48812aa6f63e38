"""Fire what is due: from cron, as often as you like, or as a process that stays."""

import threading
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import require_instant
from stockflow.scheduling.daemon import loop, stopping
from stockflow.scheduling.decays import count_due
from stockflow.scheduling.running import Run, decays
from stockflow.subcommands import add_database


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
        add_database(parser)

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
        run = Run(_until(until, database), database)
        with stopping() as stop:
            self._go(run, verbosity, stop)
        if errors := run.errors():
            raise CommandError("\n".join(errors))
        if run.is_stopped:
            raise CommandError(
                "Stopped when told to; nothing is left half done. What is due still happens at "
                "the next run, at its due instant.",
                returncode=128 + (stop.signal or 0),
            )

    def _stay(self, database: str, verbosity: int) -> None:
        def work(stop: threading.Event) -> None:
            run = Run(conf.now(database), database)
            self._go(run, 0, stop)
            for error in run.errors():
                self.stderr.write(error)

        with stopping() as stop:
            loop(work, stop, using=database)
        if verbosity:
            self.stdout.write(self.style.SUCCESS("Stopped; nothing is left half done."))

    def _go(self, run: Run, verbosity: int, stop: threading.Event) -> None:
        quiet = None if verbosity else True  # None: draw only on a terminal
        total = count_due(run.until, using=run.using) if verbosity else 0
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=total, unit=" decays", desc="Firing decays", disable=quiet) as bar:
            for fired in run.go(stop.is_set):
                bar.total = max(total, run.fired)
                bar.update(fired)
        if verbosity:
            self._report(run)

    def _report(self, run: Run) -> None:
        until = f"{run.until:%Y-%m-%d %H:%M:%S} UTC"
        self.stdout.write(self.style.SUCCESS(f"Fired {decays(run.fired)} due until {until}."))
        if run.held:
            self.stdout.write(f"Held back {decays(run.held)} whose conditions are false.")


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

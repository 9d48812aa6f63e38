"""``manage.py stockflow project`` and ``replay``: fold what is new, or everything again."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS
from tqdm import tqdm

from stockflow.subcommands import Subcommand, register

SHOWN = 10


def _add_project_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--follow", action="store_true", help="Go on until SIGTERM or Ctrl-C, looking for more."
    )
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="How long --follow waits between two looks (default: 1).",
    )
    parser.add_argument("--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS")


def _project(
    command: BaseCommand,
    *,
    follow: bool,
    every: float,
    database: str,
    verbosity: int,
    **options: Any,
) -> None:
    from stockflow.projections import runner  # noqa: PLC0415  needs the app registry

    folded, stopped = 0, _stop_on_signals() if follow else threading.Event()
    while True:
        for positions in runner.project(database):
            folded += positions
            if stopped.is_set():
                break  # each batch is committed: nothing is left half done
        if not follow or stopped.wait(every):
            break
    if verbosity:
        command.stdout.write(command.style.SUCCESS(f"Folded {folded:,} positions."))


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _add_replay_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--check",
        action="store_true",
        help="Compare the rebuild with what serves, row by row, and throw it away.",
    )
    parser.add_argument("--database", default=DEFAULT_DB_ALIAS, metavar="ALIAS")


def _replay(
    command: BaseCommand, *, check: bool, database: str, verbosity: int, **options: Any
) -> None:
    from stockflow.projections import checkpoints, flow_counts, runner  # noqa: PLC0415  as above
    from stockflow.projections.replay import Comparison  # noqa: PLC0415  as above

    serving = checkpoints.serving(flow_counts.NAME, using=database)
    if not check:
        begun = checkpoints.building(flow_counts.NAME, using=database)
        total = runner.pending(database, begun)
        read = _draw(runner.rebuild(database), total, "Replaying", verbosity)
        _say(command, verbosity, f"Replayed {read:,} positions; the new generation serves.")
        return
    if serving is None:
        raise CommandError(
            "Nothing serves yet, so there is nothing to check: run manage.py stockflow project."
        )
    comparison = Comparison(serving, using=database)
    read = _draw(comparison.run(), serving.position, "Checking", verbosity)
    if found := comparison.differences:
        lines = [
            f"{len(found):,} rows differ from the log; run manage.py stockflow replay.",
            *found,
        ]
        raise CommandError("\n".join(lines[: SHOWN + 1]))
    _say(command, verbosity, f"Checked {read:,} positions: what serves is what the log adds up to.")


def _draw(work: Iterator[int], total: int, what: str, verbosity: int) -> int:
    done, quiet = 0, None if verbosity else True  # None: draw only on a terminal
    # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
    with tqdm(total=total, unit=" events", desc=what, disable=quiet) as bar:
        try:
            for positions in work:
                done += positions
                bar.total = max(total, done)
                bar.update(positions)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. The same command goes on from here.") from None
    return done


def _say(command: BaseCommand, verbosity: int, text: str) -> None:
    if verbosity:
        command.stdout.write(command.style.SUCCESS(text))


register(
    "project",
    Subcommand(
        "Fold what is new in the log into the read tables; answers are exact without, and slower.",
        _add_project_arguments,
        _project,
    ),
)
register(
    "replay",
    Subcommand(
        "Rebuild the read tables from the log beside those that serve, then let the new ones serve.",
        _add_replay_arguments,
        _replay,
    ),
)

"""``manage.py stockflow project`` and ``replay``: fold what is new, or everything again."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections
from tqdm import tqdm

from stockflow.subcommands import Subcommand, add_database, register

if TYPE_CHECKING:
    from stockflow.projections.base import Projection

SHOWN = 10


def _add_names(parser: CommandParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="Which projections (default: all)."
    )


def _add_project_arguments(parser: CommandParser) -> None:
    _add_names(parser)
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
    add_database(parser)


def _project(
    command: BaseCommand,
    *,
    names: list[str],
    follow: bool,
    every: float,
    database: str,
    verbosity: int,
    **options: Any,
) -> None:
    from stockflow.projections.waiting import wait_for_more  # noqa: PLC0415  needs the app registry
    from stockflow.scheduling.daemon import stopping  # noqa: PLC0415  as above

    folded = {projection.name: 0 for projection in _named(names, database)}
    told: list[str] = []
    with stopping() if follow else nullcontext(threading.Event()) as stop:
        while True:
            errors = _fold(folded, database, stop)
            if follow and errors and errors != told:  # not each second anew
                command.stderr.write("\n".join(errors))
            told = errors
            if not follow or stop.is_set():
                break
            wait_for_more(stop, every, using=database)
            close_old_connections()
    for name, positions in folded.items():
        _say(command, verbosity, f"Folded {positions:,} positions into {name}.")
    if errors and not follow:
        raise CommandError("\n".join(errors))


def _fold(folded: dict[str, int], database: str, stop: threading.Event) -> list[str]:
    """Fold what is new into each of *folded*, and return what stopped: it holds up no other one.

    Nor does another error: it is raised after all of them.
    """
    from stockflow.projections import runner  # noqa: PLC0415  needs the app registry
    from stockflow.projections.folding import ProjectionStopped  # noqa: PLC0415  as above

    errors, failed = list[str](), list[Exception]()
    for name in folded:
        try:
            for positions in runner.project(database, [name]):
                folded[name] += positions
                if stop.is_set():
                    return errors  # each batch is committed: nothing is left half done
        except ProjectionStopped as error:
            errors.append(str(error))
        except Exception as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return errors


def _named(names: list[str], database: str) -> "list[Projection]":
    from stockflow.projections import base  # noqa: PLC0415  needs the app registry

    try:
        return base.named(names or None, using=database)
    except base.UnknownProjection as error:
        raise CommandError(str(error)) from None


def _add_replay_arguments(parser: CommandParser) -> None:
    _add_names(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="Compare the rebuild with what serves, row by row, and throw it away.",
    )
    add_database(parser)


def _replay(
    command: BaseCommand,
    *,
    names: list[str],
    check: bool,
    database: str,
    verbosity: int,
    **options: Any,
) -> None:
    differing: list[str] = []
    for projection in _named(names, database):
        if check:
            differing += _check(command, projection, database, verbosity)
        else:
            _rebuild(command, projection, database, verbosity)
    if differing:
        raise CommandError("\n".join(differing))


def _rebuild(command: BaseCommand, projection: "Projection", database: str, verbosity: int) -> None:
    from stockflow.projections import checkpoints, runner  # noqa: PLC0415  as above
    from stockflow.projections.folding import ProjectionStopped  # noqa: PLC0415  as above

    name = projection.name
    total = runner.pending(database, checkpoints.building(name, using=database))
    work = runner.rebuild(database, [name])
    try:
        read = _draw(work, total, f"Replaying {name}", verbosity)
    except ProjectionStopped as error:
        raise CommandError(str(error)) from None
    _say(command, verbosity, f"Replayed {read:,} positions of {name}; the new generation serves.")


def _check(
    command: BaseCommand, projection: "Projection", database: str, verbosity: int
) -> list[str]:
    from stockflow.projections import checkpoints  # noqa: PLC0415  as above
    from stockflow.projections.folding import ProjectionStopped  # noqa: PLC0415  as above
    from stockflow.projections.replay import CheckDisturbed, Comparison  # noqa: PLC0415  as above

    name = projection.name
    serving = checkpoints.serving(name, using=database)
    if serving is None:
        return [f"Nothing of {name} serves yet: run manage.py stockflow project {name}."]
    if not projection.is_current(serving):
        served = f"version {serving.version} {serving.zone}".strip()
        remedy = f"run manage.py stockflow replay {name}."
        return [f"What serves of {name} is {served}, which is not what the code counts: {remedy}"]
    comparison = Comparison(projection, serving, using=database)
    try:
        read = _draw(
            *(comparison.run(), serving.position, f"Checking {name}", verbosity),
            interrupted="Interrupted. Nothing is changed; the same command begins anew.",
        )
    except (ProjectionStopped, CheckDisturbed) as error:
        return [str(error)]
    if comparison.number:
        remedy = f"differ from the log; run manage.py stockflow replay {name}."
        found = f"{comparison.number:,} rows of {name} {remedy}"
        return [found, *comparison.differences[:SHOWN]]
    _say(
        command,
        verbosity,
        f"Checked {read:,} positions of {name}: what serves is what the log adds up to.",
    )
    return []


def _draw(
    work: Iterator[int],
    total: int,
    what: str,
    verbosity: int,
    *,
    interrupted: str = "Interrupted. The same command goes on from here.",
) -> int:
    done, quiet = 0, None if verbosity else True  # None: draw only on a terminal
    # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
    with tqdm(total=total, unit=" events", desc=what, disable=quiet) as bar:
        try:
            for positions in work:
                done += positions
                bar.total = max(total, done)
                bar.update(positions)
        except KeyboardInterrupt:
            raise CommandError(interrupted) from None
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

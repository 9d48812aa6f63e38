"""``manage.py stockflow verify`` and ``witness``: whether the log is what was recorded."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from stockflow.domain.errors import InvalidWitness
from stockflow.subcommands import Subcommand, add_database, register


def _add_verify_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--since",
        type=int,
        default=0,
        metavar="POSITION",
        help="Verify the chain from here on: it was verified up to here before.",
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="A witness, as `witness` wrote it."
    )
    add_database(parser)


def _verify(
    command: BaseCommand,
    *,
    since: int,
    against: Path | None,
    database: str,
    verbosity: int,
    **options: Any,
) -> None:
    from stockflow import verification, witnesses  # noqa: PLC0415  need the app registry

    if since < 0:
        raise CommandError(f"--since is {since}, but positions count from 1.")
    said = None if against is None else _read(against)
    wrong, positions, last, drifted = list[verification.Wrong](), 0, since, list[str]()
    quiet = None if verbosity else True  # None: draw only on a terminal
    total = verification.total(database, since)
    try:
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=total, unit=" events", desc="Verifying", disable=quiet) as bar:
            for step in verification.verify(database, since=since):
                positions, last = positions + step.positions, step.last or last
                wrong += step.wrong
                drifted += map(str, step.drifted)
                bar.update(step.positions)
    except KeyboardInterrupt:
        raise CommandError(f"Interrupted. Go on with --since {last}.") from None
    if said is not None:
        wrong += witnesses.compare(said, database)
    if drifted and verbosity:
        command.stdout.write("\n".join(["Not recorded yet, behind relations:", *drifted]))
    if wrong:
        raise CommandError("\n".join(["The log is not what was recorded:", *map(str, wrong)]))
    if verbosity:
        command.stdout.write(
            command.style.SUCCESS(f"Verified {positions:,} positions: all is as it was recorded.")
        )
        if waiting := verification.waiting(database):
            command.stdout.write(f"Not in the chain yet: {waiting:,} events without a position.")


def _read(path: Path) -> Any:
    from stockflow import witnesses  # noqa: PLC0415  needs the app registry

    try:
        return witnesses.read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InvalidWitness) as error:
        raise CommandError(f"{path} cannot be used as a witness: {error}") from None


def _add_witness_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="A new file, to be kept elsewhere.")
    add_database(parser)


def _witness(command: BaseCommand, *, file: Path, database: str, **options: Any) -> None:
    from stockflow import witnesses  # noqa: PLC0415  needs the app registry

    text = witnesses.witness(database)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise CommandError(
            f"{file} exists, and a witness is not overwritten: give it another name."
        ) from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error}") from None
    command.stdout.write(
        command.style.SUCCESS(f"Wrote {file}. Keep it where nobody who can write the log can.")
    )


register(
    "verify",
    Subcommand(
        "Verify that rows, log and hash chain are what was recorded.",
        _add_verify_arguments,
        _verify,
    ),
)
register(
    "witness",
    Subcommand(
        "Write a signed statement of the log's last position and hash, to verify against later.",
        _add_witness_arguments,
        _witness,
    ),
)

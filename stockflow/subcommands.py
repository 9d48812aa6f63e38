"""The subcommands of ``manage.py stockflow``; the read side adds its own in ``ready()``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser
from django.db import DEFAULT_DB_ALIAS


@dataclass(frozen=True)
class Subcommand:
    """One word of the command.

    Attributes:
        help: One sentence on what it does.
        add_arguments: Declares its arguments.
        run: Does it, given the command (for its ``stdout`` and ``style``) and the options.
    """

    help: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[..., Any]


SUBCOMMANDS: dict[str, Subcommand] = {}


def register(name: str, subcommand: Subcommand) -> None:
    """Make ``manage.py stockflow <name>`` run *subcommand*."""
    SUBCOMMANDS[name] = subcommand


def add_database(parser: CommandParser) -> None:
    """Let the database be chosen."""
    parser.add_argument(
        "--database",
        default=DEFAULT_DB_ALIAS,
        metavar="ALIAS",
        help=f"Which database (default: {DEFAULT_DB_ALIAS}).",
    )

"""The command of many words: ``manage.py stockflow <word>``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from stockflow.subcommands import SUBCOMMANDS


class Command(BaseCommand):
    """Hands over to the subcommand named."""

    help = "Look into the log of stockflow: `stockflow <subcommand> --help` says more."

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="word", required=True, metavar="subcommand")
        for name, subcommand in sorted(SUBCOMMANDS.items()):
            subparser = words.add_parser(name, help=subcommand.help, description=subcommand.help)
            subcommand.add_arguments(subparser)

    def handle(self, *args: Any, word: str, **options: Any) -> None:
        SUBCOMMANDS[word].run(self, **options)

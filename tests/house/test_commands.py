"""Every command says what it does, and the README mentions it."""

import argparse
from collections.abc import Iterator

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from tests.house import source

README = (source.ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    name for name, app in get_commands().items() if str(app).split(".")[0] == "stockflow"
)


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Yield each subcommand of *parser* with its help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            yield from ((name, helps.get(name, "")) for name in action.choices)


def _load(name: str) -> BaseCommand:
    return load_command_class(get_commands()[name], name)


SUBCOMMANDS = [
    (name, subcommand, text)
    for name in COMMANDS
    for subcommand, text in subcommands(_load(name).create_parser("manage.py", name))
]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_and_a_mention(name: str) -> None:
    """``manage.py NAME --help`` says what it does, the README when to use it."""
    assert _load(name).help
    assert f"manage.py {name}" in README


@pytest.mark.parametrize(
    ("name", "subcommand", "text"),
    [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in SUBCOMMANDS],
)
def test_subcommand_has_help_and_a_mention(name: str, subcommand: str, text: str) -> None:
    """So does each of its subcommands."""
    assert text
    assert f"manage.py {name} {subcommand}" in README


def test_there_are_commands() -> None:
    """The tests above have something to look at."""
    assert {"run_periodic_schedule", "stockflow"} <= set(COMMANDS)
    assert SUBCOMMANDS

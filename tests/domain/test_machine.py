"""A machine as data."""

from datetime import timedelta

import pytest

from stockflow.domain.machine import Machine, Rule

DAY = timedelta(days=1)
MACHINE = Machine(
    initial="hot",
    choices=("archived",),
    rules=(
        Rule("cool", "hot", ("warm",), delay=DAY),
        Rule("drop", "+", ("lost",), delay=2 * DAY, on_error="broken"),
        Rule("ping", "hot", (), flow="pinging"),
        Rule("wake", "dormant", ("hot",)),
    ),
)


def test_its_states_are_all_that_anything_names() -> None:
    """Default, choices, sources, targets and where errors lead."""
    assert MACHINE.states == {"hot", "archived", "warm", "lost", "broken", "dormant"}


def test_reachable_is_what_something_leads_to() -> None:
    """A source that nothing leads to is not."""
    assert MACHINE.reachable() == {"hot", "warm", "lost", "broken"}


@pytest.mark.parametrize(
    ("state", "decays"),
    [
        pytest.param("hot", ["cool", "drop"], id="own-and-any-other"),
        pytest.param("warm", ["drop"], id="any-other"),
        pytest.param("lost", [], id="its-own-target"),
    ],
)
def test_the_decays_of_a_state(state: str, decays: list[str]) -> None:
    """In the order of declaration; "+" is not its own target."""
    assert [decay.transition for decay in MACHINE.decays(state)] == decays


def test_a_star_decays_from_everywhere() -> None:
    """Its own target included."""
    machine = Machine("on", (), (Rule("go", "*", ("off",), delay=DAY),))

    assert [d.transition for s in ("on", "off") for d in machine.decays(s)] == ["go", "go"]


def test_a_computed_target_opens_the_machine() -> None:
    """Then any text may be a state."""
    assert Machine("on", (), (Rule("go", "*", None),)).is_open
    assert not MACHINE.is_open


@pytest.mark.parametrize(
    ("transition", "source", "flow"),
    [
        pytest.param("ping", "hot", "pinging", id="labelled"),
        pytest.param("cool", "hot", "cool", id="by-its-own-name"),
        pytest.param("drop", "warm", "drop", id="from-any-other"),
        pytest.param("gone", "hot", "gone", id="not-in-the-code-any-more"),
        pytest.param(None, None, "", id="creation"),
    ],
)
def test_the_flow_of_a_transition(transition: str | None, source: str | None, flow: str) -> None:
    """The declared label, else the method's own name."""
    assert MACHINE.flow(transition, source) == flow

import os
import subprocess
import sys

import pytest

from tests.benchmarks.report import missed

SECONDS = 120
NAMES = ["stockflow", "stockflow, 3 facets", "stockflow, timer starts", "stockflow, timer ends"]


def test_the_smallest_run() -> None:
    """The benchmark measures every peer and leaves no database behind."""
    name = "postgresql" if os.environ.get("DATABASE_URL") else "sqlite"
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny", "--database", name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.count("| django-fsm-2, bare |") == 2
    assert all(run.stdout.count(f"| {name} |") == 2 for name in NAMES)


def _medians(**changed: float) -> dict[str, float]:
    names = {"bare": "django-fsm-2, bare", "log": "django-fsm-log", "ours": NAMES[0]}
    names |= {"facets": NAMES[1], "starts": NAMES[2], "ends": NAMES[3]}
    medians = {"bare": 100.0, "log": 230.0, "ours": 180.0, "facets": 190.0}
    medians |= {"starts": 205.0, "ends": 200.0}
    return {names[key]: value for key, value in (medians | changed).items()}


def test_no_target_is_missed() -> None:
    """What is within the bounds is not complained about."""
    assert list(missed("here", _medians())) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param(
            {"ours": 201.0}, "stockflow costs 2.01 bare saves, the bound is 2.00", id="ours"
        ),
        pytest.param({"starts": 215.0}, "than without costs 0.35 bare saves", id="timer"),
        pytest.param({"log": 185.0}, "3 facets costs 1.90 bare saves, the bound is 1.85", id="log"),
    ],
)
def test_a_missed_target_is_named(changed: dict[str, float], found: str) -> None:
    """Each bound that is broken is a sentence with the figures."""
    sentences = " ".join(missed("here", _medians(**changed)))

    assert found in sentences


def test_noise_widens_the_bounds() -> None:
    """A small run on a busy machine is judged less strictly."""
    assert list(missed("here", _medians(ours=210.0, starts=230.0, ends=230.0), noise=0.2)) == []

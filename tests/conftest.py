"""What all tests share."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import workers

# A run that decides is the same each time it is repeated; at a desk each run looks elsewhere.
# A slow machine is no fault of the code: nothing is timed.
settings.register_profile("desk", deadline=None)
settings.register_profile("decisive", deadline=None, derandomize=True)
settings.load_profile("decisive" if os.environ.get("CI") else "desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be asked for."""
    parser.addoption(
        "--tampers",
        type=int,
        default=200,
        help="How many random alterations of the log `verify` must find.",
    )
    parser.addoption(
        "--rounds",
        type=int,
        default=25,
        help="How many transactions each of several processes writes, on objects that they share.",
    )
    parser.addoption(
        "--answers",
        type=int,
        default=200,
        help="How many answers are compared with brute force while the log is written and folded.",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.Together:
    """Keep together what shares a costly fixture."""
    return workers.Together(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark what asks no database, by its folder, so that it is not run on each of them.

    That is before pytest leaves out what was not asked for; what is long goes first, after the
    shuffle.
    """
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder == "domain" or (folder == "house" and not item.get_closest_marker("django_db")):
            item.add_marker("once")
    yield
    workers.long_first(items)


@pytest.fixture(name="django_db_setup", scope="session")
def _django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The databases, and a quicker way to empty them than Django's."""
    from tests import emptying  # needs the app registry

    with pytest.MonkeyPatch.context() as patched:
        teardown = emptying.instead_of_flush()
        patched.setattr("django.test.TransactionTestCase._fixture_teardown", teardown)
        yield


@pytest.fixture(name="jobs")
def _jobs() -> Iterator[None]:
    """No periodic job but the test's own."""
    from stockflow.scheduling.periodic import JOBS  # needs the app registry

    before = dict(JOBS)
    JOBS.clear()
    yield
    JOBS.clear()
    JOBS.update(before)

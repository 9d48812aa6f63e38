"""What the tests of users' projects are given."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import TestCase, TransactionTestCase

from stockflow.domain.errors import InvalidInstant
from stockflow.fence import installing
from stockflow.models import Event
from stockflow.testing import Clock, assert_events, run_due
from tests.crm.models import Lead
from tests.house import source

USERS_TESTS = """
from datetime import timedelta

import pytest

from tests.crm.models import Lead


def check(stock_clock, run_due, assert_events):
    lead = Lead.objects.create()
    stock_clock.advance(timedelta(days=7))

    assert run_due() == 1
    assert_events(lead, "entered >hot", "moved hot>warm")
    assert Lead.objects.count() == 1


def test_in_one_transaction(db, stock_clock, run_due, assert_events):
    check(stock_clock, run_due, assert_events)


@pytest.fixture
def by_the_database(settings):
    settings.STOCKFLOW_CLOCK = "database"


def test_before_there_is_a_database(by_the_database, stock_clock, db, run_due, assert_events):
    check(stock_clock, run_due, assert_events)


def test_in_transactions(transactional_db, stock_clock, run_due, assert_events):
    check(stock_clock, run_due, assert_events)


def test_once_more(transactional_db, stock_clock, run_due, assert_events):
    check(stock_clock, run_due, assert_events)
"""


@pytest.mark.django_db
def test_run_due_fires_what_is_due(time: Clock) -> None:
    """And says how many."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=40))

    assert run_due(time.at - timedelta(days=33)) == 1
    assert run_due() == 1
    assert_events(lead, "entered >hot", "moved hot>warm", "moved warm>cold")
    assert_events(lead, "entered >hot", "moved hot>warm", "moved warm>cold", field="temperature")


@pytest.mark.django_db
def test_run_due_is_never_early(time: Clock) -> None:
    """The clock is moved there first."""
    Lead.objects.create()

    with pytest.raises(InvalidInstant, match="move the clock there first"):
        run_due(time.at + timedelta(days=7))
    assert Event.objects.count() == 1


@pytest.mark.django_db
def test_run_due_fails_with_the_decay(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decay that raises is no silent thing in a test."""

    def fail(self: Lead) -> None:
        raise RuntimeError("out of order")

    Lead.objects.create()
    time.advance(timedelta(days=8))
    monkeypatch.setattr(Lead, "cool", fail)
    with pytest.raises(
        AssertionError, match=r"'cool' of 'temperature': RuntimeError: out of order"
    ):
        run_due()


@pytest.mark.django_db
def test_assert_events_shows_both() -> None:
    """What happened, and what was expected; of a deleted object too."""
    lead = Lead.objects.create()
    lead.delete()
    assert_events(lead, "entered >hot", "left hot>")
    with pytest.raises(AssertionError, match=r"'left hot>'\), not \('entered >hot',\)"):
        assert_events(lead, "entered >hot")


class InOneTransaction(TestCase):
    """Django's test case, with data of the class."""

    lead: Lead

    @classmethod
    def setUpTestData(cls) -> None:
        cls.lead = Lead.objects.create()

    def test_a_copy_for_each_test(self) -> None:
        """The instance of the class is as it was created, again and again."""
        self.lead.cool()
        self.lead.save()
        assert_events(self.lead, "entered >hot", "moved hot>warm")

    def test_another_copy(self) -> None:
        """The other test's move is rolled back."""
        self.lead.lose()
        self.lead.save()
        assert_events(self.lead, "entered >hot", "moved hot>lost")


class InTransactions(TransactionTestCase):
    """Django's other one, which empties the tables."""

    is_flushed = True  # by Django itself, as in a user's tests

    def test_nothing_is_left(self) -> None:
        """Neither rows nor events nor a gap in the fence."""
        assert not Event.objects.exists()
        Lead.objects.create()
        assert installing.differing("default") == ([], [])

    def test_nothing_is_left_either(self) -> None:
        """Whichever comes first."""
        self.test_nothing_is_left()


@pytest.mark.long
@pytest.mark.once
def test_the_plugin_in_a_project(tmp_path: Path) -> None:
    """With pytest-django and pytest-xdist, asked for by one line."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["stockflow.pytest_plugin"]\n')
    (tmp_path / "test_leads.py").write_text(USERS_TESTS)
    settings = tmp_path / "users_settings.py"
    settings.write_text(
        "from tests.settings import *\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'users.sqlite3', "
        "'TEST': {'NAME': 'users.sqlite3'}, 'OPTIONS': {'transaction_mode': 'IMMEDIATE'}}}\n"
    )
    words = ["-n", "2", "-p", "no:randomly", "-p", "no:cacheprovider", "--ds=users_settings"]
    path = f"pythonpath={source.ROOT} {tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words, "-o", path, "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout

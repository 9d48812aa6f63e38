"""Two real histories, loaded through the public interface, decays left to the schedule.

What the write side makes of them gives the tables that others computed, row for row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils.functional import cached_property
from pytest_django import DjangoDbBlocker

import stockflow
from example.webplatform import loading
from example.webplatform.models import Feature
from stockflow.domain.instants import from_micros
from stockflow.models import Event, ScheduledTransition, StockReference
from stockflow.projections import Flow, Stock
from stockflow.projections.answers import Member
from stockflow.projections.registry import Registry
from stockflow.testing import clock
from tests.browsers.models import Support
from tests.projections import expected
from tests.projections.expected import DataSet, instant

pytestmark = pytest.mark.django_db

BY_TARGET = {
    "flagged": Support.flag,
    "renamed": Support.rename,
    "partial": Support.do_partly,
    "full": Support.complete,
    "removed": Support.remove,
}


def load_features(data: DataSet) -> None:
    """Load what is known of the features, and fire what decays until the data end."""
    for _ in loading.load(loading.missing()):
        pass
    call_command("run_periodic_schedule", until="2026-09-22T00:00:00Z", verbosity=0)


def load_support(data: DataSet) -> None:
    """Load the second history; in it nothing decays."""
    events = sorted(data.events(), key=lambda event: (event["case_id"], int(event["seq"])))
    for key, (first, *others) in groupby(events, key=lambda event: event["case_id"]):
        support = Support(key=key, browser=first["browser"], status=first["state"])
        with stockflow.context(at=instant(first["timestamp"])):
            support.save()
        for event in others:
            with stockflow.context(at=instant(event["timestamp"])):
                BY_TARGET[event["state"]](support)
                support.save()


@dataclass(frozen=True)
class Loaded:
    """A history in rows and log."""

    data: DataSet
    reference: StockReference

    @cached_property
    def stocks(self) -> dict[str, Stock]:
        """One for each state."""
        return expected.stocks_of(
            self.data,
            lambda state: Stock(f"{self.data.name}-{state}", self.reference, states=[state]),
        )

    @cached_property
    def flows(self) -> dict[tuple[str, str], Flow]:
        """One for each pair of states."""
        return expected.flows_between(self.data, self.stocks)


LOADERS: dict[str, tuple[Callable[[DataSet], None], StockReference]] = {
    "baseline": (load_features, Feature.status),
    "bcd_css": (load_support, Support.status),
}


@pytest.fixture(
    name="loaded",
    scope="module",
    params=LOADERS,
)
def _loaded(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Loaded]:
    """A history, loaded once and rolled back after the module."""
    data, (load, reference) = DataSet(request.param), LOADERS[request.param]
    with django_db_blocker.unblock(), clock(data.end), transaction.atomic():
        load(data)
        yield Loaded(data, reference)
        transaction.set_rollback(True)


def test_transitions(loaded: Loaded, declared: Registry) -> None:
    """Each pair of states has its number of events."""
    expected.compare_transitions(loaded.data, loaded.flows)


def test_stock_daily(loaded: Loaded, declared: Registry) -> None:
    """Each day ends at its level, whole and by facet."""
    expected.compare_stock_daily(loaded.data, loaded.stocks)


def test_flow_weekly(loaded: Loaded, declared: Registry) -> None:
    """Each week has its flows, whole and by facet."""
    expected.compare_flow_weekly(loaded.data, loaded.flows)


def test_asof(loaded: Loaded, declared: Registry) -> None:
    """Any instant has its level, whole and by facet."""
    expected.compare_asof(loaded.data, loaded.stocks)


def test_asof_cases(loaded: Loaded, declared: Registry) -> None:
    """Any instant has its members, and their rows are found."""
    everywhere = Stock("everywhere", loaded.reference, states=loaded.data.states)
    expected.compare_asof_cases(loaded.data, everywhere, _key_of)


def test_decays_have_their_dates(loaded: Loaded) -> None:
    """Each decay in the data has happened, at exactly its instant, and no other has."""
    known = [event for event in loaded.data.events() if event["state"] == "widely"]
    keys = dict(loaded.reference.model._default_manager.values_list("stock_lifecycle", "key"))
    keys = {str(lifecycle): key for lifecycle, key in keys.items()}
    decays = Event.objects.filter(actor="stockflow.schedule").values_list(
        "originator", "occurred_at"
    )
    found = [(keys[lifecycle], from_micros(micros or 0)) for lifecycle, micros in decays]

    assert sorted(found) == sorted((row["case_id"], instant(row["timestamp"])) for row in known)
    assert len(found) == (8_758 if loaded.data.name == "baseline" else 0)


def test_who_waits_has_a_timer(loaded: Loaded) -> None:
    """An object waits exactly if its state decays; the row says until when, as the timer does."""
    reference = loaded.reference
    waiting = reference.model._default_manager.exclude(**{f"{reference.name}_due_at": None})
    rows = waiting.values_list("stock_lifecycle", f"{reference.name}_due_at")
    timers = ScheduledTransition.objects.values_list("lifecycle", "due_at")

    assert dict(rows) == {lifecycle: from_micros(due_at) for lifecycle, due_at in timers}
    assert len(rows) == (1_251 if loaded.data.name == "baseline" else 0)


def _key_of(member: Member) -> str:
    key: str = getattr(member.object, "key")  # noqa: B009  both models have one
    return key

"""Every number about two real histories, row for row as others computed it.

The histories are put into the log as rows; that the write side makes the same rows of them is
shown by the tests of the example.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from django.db import connection, transaction
from django.utils.functional import cached_property
from pytest_django import DjangoDbBlocker

from stockflow.domain.cells import encode_facets
from stockflow.domain.instants import to_micros
from stockflow.facets import FacetPath, resolve_facet
from stockflow.fields import StockReference
from stockflow.models import Event
from stockflow.projections import Flow, Stock
from stockflow.projections.answers import Member
from stockflow.projections.registry import Registry
from stockflow.testing import clock
from tests.crm.models import Lead
from tests.projections import expected
from tests.projections.expected import DataSet, instant

pytestmark = pytest.mark.django_db
COLUMNS = (
    "application, originator, version, topic, model, field, kind, source, target, source_facets, "
    "target_facets, occurred_at, actor, reason, correlation"
)


_TEXT = resolve_facet(Lead, "channel")


@dataclass(frozen=True)
class DataReference(StockReference):
    """A stock field of a model that exists in the log only."""

    data: DataSet

    @property
    def model_labels(self) -> tuple[str, ...]:
        """What the rows of this history have as their model."""
        return (f"data.{self.data.name}",)

    @property
    def states(self) -> frozenset[str]:
        """The states of the history."""
        return frozenset(self.data.states)

    @property
    def facets(self) -> Mapping[str, FacetPath]:
        """Its facet, a text."""
        return {self.data.facet: replace(_TEXT, lookup=self.data.facet)}


@dataclass(frozen=True)
class Loaded:
    """A history in the log."""

    data: DataSet
    cases: dict[uuid.UUID, str]

    @property
    def reference(self) -> DataReference:
        """Its stock field."""
        return DataReference(Lead, Lead.temperature.field, self.data)

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

    def case_of(self, member: Member) -> str:
        """Return the key in the files of a member."""
        return self.cases[member.lifecycle]


def rows_of(data: DataSet, cases: dict[str, uuid.UUID]) -> Iterator[tuple[str | int | None, ...]]:
    """Yield the rows of the log that a history makes, and note each case's lifecycle."""
    last: dict[str, tuple[str, str]] = {}
    for event in data.events():
        case = event["case_id"]
        source, before = last.get(case, (None, None))
        after = encode_facets({data.facet: event[data.facet]})
        kind = "moved" if source else "entered"
        yield (
            *("stockflow", str(cases.setdefault(case, uuid.uuid4())), int(event["seq"]), "tests"),
            *(f"data.{data.name}", "temperature", kind, source, event["state"], before, after),
            *(to_micros(instant(event["timestamp"])), "", "", ""),
        )
        last[case] = event["state"], after


@pytest.fixture(name="loaded", scope="module", params=["baseline", "bcd_css"])
def _loaded(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Loaded]:
    """A history in the log; rolled back after the module, as the log forgets nothing."""
    data, cases = DataSet(request.param), dict[str, uuid.UUID]()
    with django_db_blocker.unblock(), clock(data.end), transaction.atomic():
        with connection.cursor() as cursor:
            places = ", ".join(["%s"] * len(COLUMNS.split(",")))
            cursor.executemany(
                f"INSERT INTO {Event._meta.db_table} ({COLUMNS}) VALUES ({places})",
                list(rows_of(data, cases)),
            )
        yield Loaded(data, {lifecycle: case for case, lifecycle in cases.items()})
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
    """Any instant has its members."""
    everywhere = Stock("everywhere", loaded.reference, states=loaded.data.states)
    expected.compare_asof_cases(loaded.data, everywhere, loaded.case_of)


@pytest.mark.parametrize("merged", [False, True], ids=["visits", "merged"])
def test_dwell(loaded: Loaded, declared: Registry, merged: bool) -> None:
    """Stays took as long as others found, in each state."""
    expected.compare_dwell(loaded.data, loaded.stocks, merged=merged)

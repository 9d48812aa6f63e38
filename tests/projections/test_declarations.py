"""What is declared is found by its slug, once."""

import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import NotSupportedError

import stockflow.projections
from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.errors import UnknownFacet
from stockflow.errors import InvalidDeclaration
from stockflow.projections import Facet, Flow, Process, Stock, query, statements
from stockflow.projections.registry import Registry
from stockflow.testing import clock
from tests.crm.models import Lead, Rep, Ticket
from tests.projections.histories import NOW

DAY = timedelta(days=1)


def sales(**options: Any) -> Process:
    """Return a process of two stocks and a flow."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    won = Stock("won", Lead.temperature, states=["won"])
    return Process(
        "sales", stocks=[hot, won], flows=[Flow("winning", sources=[hot], sinks=[won])], **options
    )


def test_declarations_register_themselves(declared: Registry) -> None:
    """A page finds each kind by slug, in declared order."""
    team = Facet("team", "owner__team")
    process = sales(facets=[team], name="Selling", description="From hot to won")

    assert list(declared.stocks) == ["hot", "won"]
    assert declared.processes == {"sales": process}
    assert declared.facets == {"team": team}
    assert [repr(one) for one in (process, *process.stocks, *process.flows, *process.facets)] == [
        "<Process: sales>",
        "<Stock: hot>",
        "<Stock: won>",
        "<Flow: winning>",
        "<Facet: team>",
    ]
    assert (process.name, process.stocks[0].name) == ("Selling", "Hot")


@pytest.mark.parametrize("slug", ["", "two words", "über"])
def test_slug_is_checked(slug: Any) -> None:
    """A slug becomes part of an address."""
    with pytest.raises(InvalidDeclaration, match="needs a slug: letters, digits"):
        Stock(slug, Lead.temperature, states=["hot"])


def test_slug_is_taken_once(declared: Registry) -> None:
    """Two stocks of one slug would share a page; a stock and a flow do not."""
    sales()

    with pytest.raises(InvalidDeclaration, match="There is a Stock 'hot' already"):
        Stock("hot", Lead.temperature, states=["hot"])
    assert Facet("hot", "channel") in declared.facets.values()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"stocks": []}, "'p' needs a stock", id="none"),
        pytest.param({"stocks": ["hot"]}, "'hot' is no Stock", id="text"),
        pytest.param({"flows": [None]}, "None is no Flow", id="flow"),
        pytest.param({"facets": ["channel"]}, "'channel' is no Facet", id="facet"),
    ],
)
def test_process_is_checked(options: Any, message: str) -> None:
    """A misdeclared process fails where it is declared."""
    hot = Stock("hot", Lead.temperature, states=["hot"])

    with pytest.raises(InvalidDeclaration, match=message):
        Process("p", **{"stocks": [hot], **options})


def test_process_facet_splits_each_stock() -> None:
    """A page splits all its stocks by one facet, so each must declare it."""
    with pytest.raises(UnknownFacet, match="declares no facet <Facet: area>"):
        sales(facets=[Facet("area")])


def test_process_keeps_to_one_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement cannot answer from two databases."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    new = Stock("new", Ticket.state, states=["new"])
    monkeypatch.setattr(Stock, "using", property(lambda stock: stock.slug))

    with pytest.raises(InvalidDeclaration, match="in the databases hot, new"):
        Process("p", stocks=[hot, new])


@pytest.mark.django_db
def test_process_series_is_one_statement(django_assert_num_queries: Any) -> None:
    """All stocks of a page, of different models too, are as they were at one instant."""
    new = Stock("new", Ticket.state, states=["new"])
    process = Process("all", stocks=[*sales().stocks, new])
    Lead.objects.create()
    Ticket.objects.create()
    with django_assert_num_queries(1):
        found = process.series(NOW - 400 * DAY, NOW + 40_000 * DAY, every="year")

    assert {slug: series[-1].value for slug, series in found.items()} == {
        "hot": 1,
        "won": 0,
        "new": 1,
    }


@pytest.mark.django_db
def test_facet_is_asked_for_by_lookup_slug_or_itself() -> None:
    """All three mean the same."""
    team = Facet("team", "owner__team", labels={"north": "The north"})
    hot = Stock("hot", Lead.temperature, states=["hot"])
    with clock(NOW):
        Lead.objects.create(owner=Rep.objects.create(team="north"))
        answers = [hot.count(by=by) for by in ("owner__team", "team", team)]

    assert answers == [{"north": 1}] * 3


def test_facet_labels_its_values() -> None:
    """A value without a label is shown as it is."""
    team = Facet("team", labels={1: "North"})

    assert [team.label(value) for value in (1, 2, None, NOT_RECORDED)] == [
        "North",
        "2",
        "none",
        "not recorded",
    ]
    assert (team.lookup, team.name) == ("team", "Team")


def test_other_databases_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement is written for two databases."""
    monkeypatch.setattr(statements, "connections", {"other": SimpleNamespace(vendor="mysql")})

    with pytest.raises(NotSupportedError, match="Database 'other' is mysql"):
        query.changes([Lead.temperature], [query.END], using="other", now=NOW)


def test_package_needs_no_app_registry() -> None:
    """INSTALLED_APPS imports the room before any model exists."""
    subprocess.run(
        [sys.executable, "-c", "from stockflow.projections import *"],
        check=True,
        timeout=60,
    )

    assert all(map(stockflow.projections.__all__.count, ("Facet", "Flow", "Process", "Stock")))


def test_app_finds_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each app's ``stocks`` and ``projections`` modules are imported when Django is ready."""
    asked: list[str] = []
    monkeypatch.setattr("stockflow.projections.apps.autodiscover_modules", asked.append)
    apps.get_app_config("stockflow_projections").ready()

    assert asked == ["stocks", "projections"]

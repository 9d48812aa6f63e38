"""Stocks narrowed by facets: exact, and equal to brute force over the log."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given

from stockflow.domain.errors import InvalidMeasure, UnknownFacet, UnknownFacetValue
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import Facet, FacetForm, Flow, Process, Stock, StockSelection
from stockflow.projections.facets import facets_on, lookup_of
from stockflow.projections.narrowed import OF_STAYS
from stockflow.testing import clock
from tests.crm.models import BigLead, HotLead, Lead, Paint, Rep, Sale, Visit
from tests.projections import histories
from tests.projections.histories import NOW, START, instants, logged, quick, standing

DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


def web(**options: Any) -> Stock:
    """Return the hot and warm leads of the web."""
    return Stock(
        "web",
        Lead.temperature,
        states=["hot", "warm"],
        where={"channel": "web"},
        **options,
    )


def is_web(facets: str | None, state: str | None) -> bool:
    """Whether a cell belongs to that stock."""
    return state in {"hot", "warm"} and histories.channel(facets) == "web"


@quick
@given(events=histories.histories, at=instants)
def test_level_is_brute_force(declared: Any, events: list[Event], at: datetime) -> None:
    """As of an instant; members are the objects behind it."""
    declared.stocks.clear()
    stock = web()
    found = [one for one in standing(events, at) if is_web(one.target_facets, one.target)]
    with logged(events), clock(NOW):
        number = stock.count(at=at - timedelta(microseconds=1))
        split = stock.count(at=at - timedelta(microseconds=1), by="channel")
        members = stock.members(at=at - timedelta(microseconds=1))

    assert number == len(found)
    assert split == ({"web": len(found)} if found else {})
    assert {str(one.lifecycle) for one in members} == {one.originator for one in found}


@quick
@given(events=histories.histories)
def test_buckets_add_up_and_flows_are_brute_force(declared: Any, events: list[Event]) -> None:
    """Opening + in - out + reclassified is closing; a flow leads from and to cells."""
    declared.stocks.clear()
    declared.flows.clear()
    declared.processes.clear()
    stock = web()
    won = Stock("won", Lead.temperature, states=["won"], where={"channel": ["fair"]})
    flow = Flow("winning", sources=[stock], sinks=[won])
    process = Process("p", stocks=[stock, won], flows=[flow])
    end = START + 30 * DAY
    expected = [
        one
        for one in events
        if one.model in histories.FAMILY
        and one.kind == "moved"
        and is_web(one.source_facets, one.source)
        and one.target == "won"
        and histories.channel(one.target_facets) == "fair"
    ]
    with logged(events), clock(NOW):
        tables = process.roll_forward(START - DAY, end, every="week")
        counted, listed = flow.count(START - DAY, end), list(flow.all())
        levels = [row.value for row in stock.closing(START - DAY, end, every="week")]

    for row in tables["web"]:
        came, went = sum(row.flows_in.values()), sum(row.flows_out.values())
        net = came + row.other_in - went - row.other_out + row.reclassified
        assert row.opening + net == row.closing
    assert [row.closing for row in tables["web"]] == levels
    assert counted == len(expected)
    assert Counter(one.originator for one in listed) == Counter(one.originator for one in expected)
    assert sum(row.flows_out["winning"] for row in tables["web"]) == counted
    assert sum(row.flows_in["winning"] for row in tables["won"]) == counted


def test_rows_are_the_level() -> None:
    """Its queryset counts what the log says."""
    north = Rep.objects.create(team="north")
    for channel, owner in (("web", north), ("web", None), ("ads", north), ('"web"', None)):
        Lead.objects.create(channel=channel, owner=owner)
    narrowed = Stock(
        "north",
        Lead.temperature,
        states=["hot"],
        where={"channel": ["web", "ads"], "owner__team": None},
    )

    stock = web()

    assert [narrowed.count(), narrowed.all().count(), stock.count(), stock.all().count()] == [
        1,
        1,
        2,
        2,
    ]
    assert narrowed.definition == (
        "crm.Lead.temperature is 'hot', where channel is 'web' or 'ads' and owner__team is None"
    )


def test_kept_at_entry_is_in_the_log_only() -> None:
    """The rows of such a stock are those of its members."""
    seller = Rep.objects.create(team="north")
    sale = Sale.objects.create(seller=seller)
    Rep.objects.update(team="south")
    Sale.objects.create(seller=seller)
    north = Stock("north", Sale.state, states=["offered"], where={"seller__team": "north"})

    assert (north.count(), list(north.all())) == (1, [sale])


@pytest.mark.parametrize("value", [3, True, None])
def test_values_of_any_kind(value: Any) -> None:
    """Events of a flow are found by their canonical text, not by what looks like it."""
    name = "glossy" if value is True else "number"
    for number, glossy in ((3, True), (33, False), (None, False)):
        Paint.objects.create(number=number, glossy=glossy)
    stock = Stock("some", Paint.shade, states=["light"], where={name: value})
    flow = Flow("in", sources=[None], sinks=[stock])

    assert (stock.count(), flow.count(), flow.all().count()) == (1, 1, 1)


@pytest.mark.parametrize("name", OF_STAYS)
def test_what_follows_objects_is_refused(name: str) -> None:
    """Stays are of whole states: an answer about a part would be a guess."""
    with pytest.raises(InvalidMeasure, match=rf"{name}\(\) of the stock 'web' cannot be asked for"):
        getattr(web(), name)(START, NOW, every="day")


def test_conversion_to_a_part_is_refused() -> None:
    """So is what leads to a narrowed stock, and what timers do not know."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    with pytest.raises(InvalidMeasure, match="Conversion to the stock 'web'"):
        hot.conversion(web(), START, NOW, every="day", within=DAY)
    with pytest.raises(InvalidMeasure, match=r"scheduled\(\) of the flow 'cooling'"):
        Flow(
            "cooling",
            sources=["hot"],
            sinks=[Stock("w", Lead.temperature, states=["warm"], where={"channel": "web"})],
        ).scheduled(START, NOW, every="day")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        pytest.param(
            {"channel": "fax"},
            "Facet 'channel' has no value 'fax' .it has: 'web', 'ads'",
            id="list",
        ),
        pytest.param(
            {"owner__team": "east"},
            "Facet 'team' has no value 'east' .it has: 'north'",
            id="queryset",
        ),
    ],
)
def test_unknown_values_are_an_error(where: Any, message: str) -> None:
    """Not an empty answer; a queryset is asked anew each time."""
    channel = Facet("channel", values=["web", "ads"])
    team = Facet("team", values=Rep.objects.order_by("team").values_list("team", flat=True))
    Rep.objects.create(team="north")
    by = {"channel": channel, "owner__team": (team, "owner")}
    asked = {by[lookup]: value for lookup, value in where.items()}
    with pytest.raises(UnknownFacetValue, match=message):
        Stock("some", Lead.temperature, states=["hot"], where=asked)
    Rep.objects.create(team="east")

    assert team.values == ["east", "north"]
    assert channel.choices == [("web", "web"), ("ads", "ads")]


def test_a_value_of_another_kind_is_refused() -> None:
    """A text is no number."""
    with pytest.raises(UnknownFacetValue, match=r"'number' of crm\.Paint\.shade cannot be 'many'"):
        Stock("some", Paint.shade, states=["light"], where={"number": "many"})


@pytest.mark.parametrize("values", ["web", 3, User.objects.all(), User.objects.values_list("pk")])
def test_values_are_a_list_or_flat(values: Any) -> None:
    """What else there is cannot be compared with."""
    with pytest.raises(
        InvalidDeclaration, match=r"needs (a list of values|the values of one column)"
    ):
        Facet("channel", values=values)


def test_a_facet_without_values_has_no_choices() -> None:
    """It says what to declare."""
    with pytest.raises(
        InvalidDeclaration, match="'channel' has no choices: declare it with values="
    ):
        _ = Facet("channel").choices


def test_a_facet_with_a_prefix_splits() -> None:
    """Counts, rows and flows; another prefix is not declared."""
    team = Facet("team", values=["north", "south"])
    Lead.objects.create(owner=Rep.objects.create(team="north"))
    hot = Stock("hot", Lead.temperature, states=["hot"])

    assert hot.count(by=(team, "owner")) == {"north": 1}
    assert hot.faceted((team, "owner"), "north").count() == 1
    assert Lead.objects.filter(team.q("north", "owner")).count() == 1
    with pytest.raises(UnknownFacetValue, match="'team' has no value 'east'"):
        hot.faceted((team, "owner"), "east")
    with pytest.raises(UnknownFacet, match="declares no facet"):
        hot.count(by=(team, "boss"))
    with pytest.raises(UnknownFacet, match="declares no facet"):
        Stock("warm", Lead.temperature, states=["warm"], facets=[(team, "boss")])


def test_a_prefix_is_given_once() -> None:
    """Where a stock or a process of the field gives it, the facet or its slug alone finds it."""
    team = Facet("team", values=["north", "south"], labels={"north": "North"})
    lead = Lead.objects.create(owner=Rep.objects.create(team="north"))
    hot = Stock("hot", Lead.temperature, states=["hot"])
    with pytest.raises(UnknownFacet, match="declares no facet"):
        hot.count(by=team)
    process = Process("sales", stocks=[hot], facets=[(team, "owner")])
    selection = StockSelection(hot, {"team": "north"})

    assert hot.count(by=team) == hot.count(by="team") == {"north": 1}
    assert (selection.label, selection.members().get()) == ("Hot: North", lead)
    assert FacetForm(selection, facets=process.facets).fields["facet-team"].label == "Team"
    assert facets_on(Lead.temperature) == {"owner__team": team}
    with pytest.raises(UnknownFacet, match="declares no facet"):
        Stock("sold", Sale.state, states=["offered"]).count(by=team)


def test_two_prefixes_are_told_apart() -> None:
    """A facet that stocks reach by several ways is asked for with its prefix."""
    name = Facet("name")
    given = [(name, "source"), (name, "third")]
    Stock("open", Visit.state, states=["open"], facets=given)
    with pytest.raises(UnknownFacet, match="declares no facet"):
        lookup_of(Visit.state, name)

    assert [lookup_of(Visit.state, by) for by in given] == ["source__name", "third__name"]


def test_stocks_of_children_and_proxies_have_their_rows() -> None:
    """As the log counts them: by the class that created the object."""
    Lead.objects.create()
    HotLead.objects.create()
    BigLead.objects.create()
    stocks = [
        Stock(model.__name__, model.temperature, states=["hot"])
        for model in (Lead, HotLead, BigLead)
    ]

    assert [stock.count() for stock in stocks] == [3, 1, 1]
    assert [stock.all().count() for stock in stocks] == [3, 1, 1]
    assert [stock.subject_model for stock in stocks] == [Lead, HotLead, BigLead]


def test_flows_of_a_stock() -> None:
    """Those that lead into it and out of it, with their events."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    warm = Stock("warm", Lead.temperature, states=["warm"])
    arriving = Flow("arriving", sources=[None], sinks=[hot])
    cooling = Flow("cooling", sources=[hot], sinks=[warm, "cold"])
    lead = Lead.objects.create()
    lead.cool()
    lead.save()

    assert (hot.inflows, hot.outflows) == ((arriving,), (cooling,))
    assert {flow: events.count() for flow, events in hot.flows_into().items()} == {arriving: 1}
    assert {flow: events.count() for flow, events in hot.flows_outfrom().items()} == {cooling: 1}
    assert warm.flows_outfrom() == {}


def test_a_flow_is_asked_by_its_ends() -> None:
    """A source or a sink of it; a state that no stock stands for is an end too."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    lost = Stock("lost", Lead.temperature, states=["lost"])
    ending = Flow("ending", sources=[hot, "warm", None], sinks=[lost, "won"])
    for name in ("lose", "win"):
        lead = Lead.objects.create()
        lead.cool()
        getattr(lead, name)(*([1] if name == "win" else []))
        lead.save()
    lead = Lead.objects.create()
    lead.lose()
    lead.save()

    assert ending.count() == ending.all().count() == 3
    assert ending.count(source="warm") == ending.all("warm").count() == 2
    assert ending.count(source=hot, sink=lost) == ending.all(hot, lost).count() == 1
    assert ending.count(source=None) == 0
    assert ending.count(sink="won", by="channel") == {"web": 1}
    assert (
        ending.definition
        == "crm.Lead.temperature from hot or 'warm' or the outside to lost or 'won'"
    )
    with pytest.raises(
        InvalidMeasure, match=r"'ending' has no source 'cold' .it has: hot, 'warm', the outside"
    ):
        ending.count(source="cold")


def test_a_flow_is_counted_over_all_time() -> None:
    """Without bounds, from the beginning until now."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    arriving = Flow("arriving", sources=[None], sinks=[hot])
    with clock(datetime(1950, 1, 1, tzinfo=UTC)):
        Lead.objects.create()

    assert arriving.count() == 1

"""Walking through the members of a stock, while they come and go."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict

from stockflow.domain.errors import UnknownFacet, UnknownFacetValue
from stockflow.errors import InvalidDeclaration, InvalidSelection
from stockflow.projections import (
    Facet,
    FacetForm,
    FacetSelection,
    Stock,
    StockSelection,
    StockSequencer,
    registry,
)
from stockflow.testing import Clock, clock
from tests.crm.models import Lead, Rep, Sale

pytestmark = pytest.mark.django_db


@pytest.fixture(name="hot")
def _hot(declared: registry.Registry) -> Stock:
    return Stock("hot", Lead.temperature, states=["hot"])


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(datetime(2026, 3, 3, tzinfo=UTC)) as time:
        yield time


def leads(*channels: str) -> list[Lead]:
    """Create a hot lead of each channel."""
    return [Lead.objects.create(channel=channel) for channel in channels]


def walked(walk: StockSequencer) -> list[Any]:
    """Return whom one meets from the first to the end."""
    met, found = [], walk.first()
    while found is not None:
        met.append(found)
        found = walk.next(walk.cursor(found))
    return met


def test_a_walk_meets_each_member_once(hot: Stock) -> None:
    """From the first to the last, and back again."""
    all_leads = leads("web", "fair", "web")
    walk = StockSequencer(StockSelection(hot))
    back, found = [], walk.last()
    while found is not None:
        back.append(found)
        found = walk.previous(walk.cursor(found))

    assert walked(walk) == all_leads
    assert back == all_leads[::-1]


def test_a_walk_of_a_facet(hot: Stock) -> None:
    """Those of one value only."""
    first, _, third = leads("web", "fair", "web")

    assert walked(StockSequencer(StockSelection(hot, {"channel": "web"}))) == [first, third]


def test_a_walk_of_no_value(hot: Stock) -> None:
    """None is a value."""
    Lead.objects.create(owner=Rep.objects.create(name="Ada", team="north"))
    alone = Lead.objects.create()

    assert walked(StockSequencer(StockSelection(hot, {"owner__team": None}))) == [alone]


@pytest.mark.parametrize("ordering", [(), ("-pk",), ("channel",), ("-channel", "-id"), ("note",)])
def test_who_left_meanwhile_is_walked_past(hot: Stock, ordering: tuple[str, ...]) -> None:
    """One who left the stock, changed or was deleted after being shown is no obstacle."""
    leads("b", "a", "c", "b", "a")
    walk = StockSequencer(StockSelection(hot), ordering=ordering)
    expected = walked(walk)
    cursors = [walk.cursor(lead) for lead in expected]
    expected[1].lose()
    expected[1].channel = "z"
    expected[1].save()
    expected[2].delete()

    assert walk.next(cursors[1]) == expected[3]
    assert walk.next(cursors[2]) == expected[3]
    assert walk.previous(cursors[2]) == expected[0]
    assert walk.place(cursors[1]) == (1, 3, False)
    assert walk.place(cursors[3]) == (1, 3, True)


def test_who_waits_longest_comes_first(hot: Stock, time: Clock) -> None:
    """Instants order too, to the microsecond, whatever leaves and comes back."""
    first, second = leads("web", "web")
    time.advance(timedelta(microseconds=1))
    first.touch()
    first.save()
    walk = StockSequencer(StockSelection(hot), ordering=["temperature_since"])
    cursor = walk.cursor(walk.first())
    second.touch()
    second.save()

    assert walk.first() == first
    assert walk.next(cursor) == first
    assert walk.step("next", walk.cursor(first)) == Lead.objects.get(pk=second.pk)


@pytest.mark.parametrize("ordering", [("owner",), ("-owner",)])
def test_what_has_no_value_comes_last(hot: Stock, ordering: tuple[str, ...]) -> None:
    """On both databases, in both directions, and one finds back."""
    rep = Rep.objects.create(name="Ada", team="north")
    nobody, owned, none_either = (Lead.objects.create(owner=owner) for owner in (None, rep, None))
    walk = StockSequencer(StockSelection(hot), ordering=ordering)

    assert walked(walk) == [owned, nobody, none_either]
    assert walk.previous(walk.cursor(nobody)) == owned
    assert walk.previous(walk.cursor(none_either)) == nobody
    assert walk.last() == none_either


def test_steps(hot: Stock) -> None:
    """A step is a word or a number."""
    first, second, third = leads("web", "web", "web")
    walk = StockSequencer(StockSelection(hot))
    at = walk.cursor(second)

    found = [walk.step(step, at) for step in ("first", "previous", "next", "last", "2")]
    assert found == [first, first, third, third, second]
    assert [walk.step("next"), walk.step("previous")] == [first, third]
    assert [walk.step("4"), walk.step("9" * 30), walk.next(walk.cursor(third))] == [None] * 3


@pytest.mark.parametrize(
    ("step", "at", "message"),
    [
        ("sideways", "", "'sideways' is no step: take 'first', 'previous', 'next', 'last' or"),
        ("0", "", "Members are counted from 1: there is none at 0."),
        ("next", "x", "'x' is no place in 'hot' by id: begin again with the step 'first'."),
    ],
)
def test_impossible_steps(hot: Stock, step: str, at: str, message: str) -> None:
    """They say what can be taken instead."""
    with pytest.raises(InvalidSelection, match=message):
        StockSequencer(StockSelection(hot)).step(step, at)


@pytest.mark.parametrize("at", ["7", "[]", '["web"]', '{"a": 1}', '["web", "x"]', '[["a"], "1"]'])
def test_impossible_places(hot: Stock, at: str) -> None:
    """A cursor of another ordering is none."""
    with pytest.raises(InvalidSelection, match="is no place in 'hot' by channel, id"):
        StockSequencer(StockSelection(hot), ordering=["channel"]).next(at)


@pytest.mark.parametrize("name", ["price", "-owner__team", "sale"])
def test_impossible_orderings(hot: Stock, name: str) -> None:
    """Only columns order."""
    with pytest.raises(
        InvalidDeclaration, match=f"cannot be ordered by '{name}': it is no column of theirs"
    ):
        StockSequencer(StockSelection(hot), ordering=[name])


@pytest.mark.parametrize("value", ["web", "", "null", '"x', "a&b=ü", None])
def test_a_selection_goes_into_a_query_string_and_back(hot: Stock, value: str | None) -> None:
    """Any value does, and other parameters are passed on."""
    others = QueryDict("page=2&page=3&stock=cold&facet-channel=old")
    selection = StockSelection(hot, {"channel": value})
    query = QueryDict(selection.query(others).urlencode())
    again = StockSelection.from_query(query, [hot])

    assert again.facets[0].value == value
    assert query.getlist("page") == ["2", "3"]
    assert query.getlist("stock") == ["hot"]


def test_an_empty_parameter_selects_nothing(hot: Stock) -> None:
    """As a form sends it where all are wanted; the first stock is meant where none is named."""
    assert StockSelection.from_query(QueryDict("facet-channel=&q=1"), [hot]).facets == ()


def test_a_selection_by_a_declared_facet(hot: Stock) -> None:
    """Goes by the facet's slug, and shows its labels."""
    team = Facet("team", "owner__team", labels={"north": "North"})
    selection = StockSelection(hot, {team: "north"})

    assert selection.query().urlencode() == "stock=hot&facet-team=north"
    assert selection.label == "Hot: North"


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("stock=cold", InvalidSelection, "There is no stock 'cold' to select from .*: 'hot'"),
        ("facet-size=1", UnknownFacet, "declares no facet 'size'"),
        ('facet-channel="x', InvalidSelection, "the quotation mark is not closed"),
        ("facet-channel=%00", InvalidSelection, "it has a null character"),
    ],
)
def test_impossible_selections(
    hot: Stock, query: str, error: type[Exception], message: str
) -> None:
    """They say what is wrong."""
    with pytest.raises(error, match=message):
        StockSelection.from_query(QueryDict(query), [hot])


def test_a_facet_that_only_the_log_has(declared: registry.Registry) -> None:
    """Rows cannot be narrowed by what was kept at entry."""
    stock = Stock("offers", Sale.state, states=["offered"])
    with pytest.raises(InvalidSelection, match="which the log knows and the rows do not"):
        FacetSelection(stock, "seller__team", "north")


def test_a_form_of_a_selection(hot: Stock) -> None:
    """It offers the values that members have, with their numbers, and passes all else on."""
    leads("web", "web", "fair")
    channel = Facet("channel", labels={"web": "Web"})
    won = Stock("won", Lead.temperature, states=["won"])
    form = FacetForm(
        StockSelection(hot, {channel: "web"}),
        stocks=[hot, won],
        facets=[channel],
        others=QueryDict("page=2"),
    )

    field: Any = form.fields["facet-channel"]
    assert field.choices == [("", "all"), ("fair", "fair (1)"), ("web", "Web (2)")]
    assert form["facet-channel"].initial == "web"
    assert [one.name for one in form.hidden_fields()] == ["page"]


def test_a_value_that_is_not_declared(hot: Stock) -> None:
    """A facet with values knows no others; its form offers all of them."""
    leads("web")
    channel = Facet("channel", values=["web", "fair"])
    with pytest.raises(
        UnknownFacetValue, match=r"'channel' has no value 'post' \(it has: 'web', 'f"
    ):
        StockSelection.from_query(QueryDict("facet-channel=post"), [hot])
    field: Any = FacetForm(StockSelection(hot), facets=[channel]).fields["facet-channel"]

    assert field.choices[1:] == [("web", "web (1)"), ("fair", "fair (0)")]


def test_a_sampled_stock_is_walked_whole(declared: registry.Registry) -> None:
    """Its rows are those of its query; facets are the query's own affair."""
    first, second = leads("web", "fair")
    sampled = Stock("all-leads", queryset=Lead.objects.all())
    selection = StockSelection(sampled)

    hot = Stock("hot", Lead.temperature, states=["hot"])
    offered: Any = FacetForm(selection, stocks=[hot, sampled]).fields["stock"]

    assert walked(StockSequencer(selection)) == [first, second]
    assert list(FacetForm(selection, facets=[Facet("channel")]).fields) == ["stock"]
    assert selection.label == "All leads (sampled)"
    assert offered.choices == [("hot", "Hot"), ("all-leads", "All leads (sampled)")]
    with pytest.raises(InvalidSelection, match="is sampled and cannot be narrowed"):
        StockSelection(sampled, {"channel": "web"})

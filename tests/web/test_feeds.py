"""The feed of a stock's line chart: points, labels and colours, for who may see them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

import stockflow
from example.crm.models import Lead
from stockflow.projections import Stock, registry
from stockflow.projections.charts import DARK, LIGHT
from stockflow.testing import Clock
from tests.house import source

HOT = reverse("stockflow:feed", args=["hot"])


@pytest.fixture(name="older")
def _older(lead: Lead) -> Lead:
    """A lead of the day before."""
    older = Lead(channel="fair", owner=lead.owner)
    with stockflow.context(at=datetime(2026, 3, 2, 12, tzinfo=UTC)):
        older.save()
    return older


@pytest.fixture(name="staff")
def _staff(db: None, time: Clock) -> Iterator[Stock]:
    """A sampled stock: no state says who is staff."""
    yield Stock("staff", queryset=User.objects.filter(is_staff=True), name="Staff")
    del registry.declared.stocks["staff"]


def lines(answer: Any) -> dict[str, list[int]]:
    """Return the values of each line by its name."""
    return {
        line["name"]: [point["value"] for point in line["points"]]
        for line in answer.json()["lines"]
    }


def test_a_feed_of_levels(admin: Client, older: Lead) -> None:
    """One point for each period, at its end, the running one's until now."""
    answer = admin.get(HOT, {"last": "3"})
    feed = answer.json()

    assert lines(answer) == {"Hot": [0, 1, 2]}
    assert feed["labels"] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert [point["at"] for point in feed["lines"][0]["points"]] == [
        "2026-03-02T00:00:00+00:00",
        "2026-03-03T00:00:00+00:00",
        "2026-03-03T12:00:00+00:00",
    ]
    assert (feed["stock"], feed["unit"], feed["is_sampled"]) == ("hot", "item", False)
    assert (feed["lines"][0]["colour"], feed["lines"][0]["dark_colour"]) == (LIGHT[1], DARK[1])


def test_a_feed_by_facet(admin: Client, older: Lead) -> None:
    """A line for each value, with the facet's label and a colour of its own."""
    answer = admin.get(HOT, {"last": "2", "by": "channel", "every": "month"})
    feed = answer.json()

    assert lines(answer) == {"Trade fair": [0, 1], "Web": [0, 1]}
    assert [line["facet"] for line in feed["lines"]] == ["fair", "web"]
    assert len({line["colour"] for line in feed["lines"]}) == 2
    assert feed["labels"] == ["Feb 2026", "Mar 2026"]


def test_a_feed_equals_the_records(admin: Client, older: Lead) -> None:
    """What was written down is what the log says, so none needs to have been."""
    from example.crm.stocks import hot

    instants = [datetime(2026, 3, day, tzinfo=UTC) - timedelta(microseconds=1) for day in (2, 3)]
    assert len(list(hot.backfill(instants))) == 1
    recorded = [record.count for record in hot.records.order_by("timestamp")]

    assert lines(admin.get(HOT, {"last": "3"}))["Hot"][:2] == recorded


def test_a_feed_of_a_sampled_stock(admin: Client, staff: Stock, time: Clock) -> None:
    """Its records are all that there is, and the feed says so."""
    for _ in range(3):
        time.advance(timedelta(hours=1))
        staff.save_count()
    answer = admin.get(reverse("stockflow:feed", args=["staff"]), {"last": "2"})

    assert lines(answer) == {"Staff": [1, 1]}
    assert answer.json()["is_sampled"] is True
    assert answer.json()["labels"] == ["2026-03-03 14:00", "2026-03-03 15:00"]


def test_a_sampled_stock_without_a_record(admin: Client, staff: Stock) -> None:
    """Has no points."""
    answer = admin.get(reverse("stockflow:feed", args=["staff"]))

    assert lines(answer) == {"Staff": []}


@pytest.mark.parametrize("who", ["client", "stranger", "clerk"])
def test_who_may_not_see(request: pytest.FixtureRequest, lead: Lead, who: str) -> None:
    """Neither who is not logged in nor staff without the permission gets a number."""
    answer = request.getfixturevalue(who).get(HOT)

    assert answer.status_code == 403
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"every": "fortnight"}, "every: Select a valid choice."),
        ({"last": "0"}, "last: Ensure this value is greater than or equal to 1."),
        ({"last": "5000"}, "less than or equal to 1000"),
        ({"by": "size"}, "declares no facet 'size'"),
        ({"every": "year", "last": "1000"}, ""),
    ],
)
def test_what_cannot_be_asked(admin: Client, lead: Lead, query: dict[str, str], said: str) -> None:
    """The answer says why; a thousand years are a lot, but can be counted."""
    answer = admin.get(HOT, query)

    assert answer.status_code == (400 if said else 200)
    assert said in answer.json().get("error", "")


def test_a_stock_that_there_is_not(admin: Client, db: None) -> None:
    """Is not found."""
    assert admin.get(reverse("stockflow:feed", args=["sails"])).status_code == 404
    assert admin.post(HOT).status_code == 405


def test_colours_are_those_of_the_pages() -> None:
    """A feed's lines look like the pages' own."""
    css = (source.ROOT / "projections/static/stockflow/pages.css").read_text(encoding="utf-8")
    found = [dict(re.findall(r"--line-(\d): (#\w+);", part)) for part in css.split("}")]
    light, _, dark = [one for one in found if one]

    assert [light[str(n)] for n in range(9)] == list(LIGHT)
    assert [dark[str(n)] for n in range(9)] == list(DARK)

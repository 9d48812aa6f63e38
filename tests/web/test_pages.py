"""The pages: numbers for who may see the objects, and for nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

import stockflow
from example.crm.models import Lead, Rep
from example.webplatform.models import Feature
from stockflow.testing import Clock

INDEX = reverse("stockflow:index")
WEB = reverse("stockflow:process", args=["web"])
NEWLY = reverse("stockflow:members", args=["newly"])


@pytest.mark.parametrize("address", [INDEX, WEB, NEWLY], ids=["index", "process", "members"])
def test_login_is_needed(client: Client, db: None, address: str) -> None:
    """Without a login each page leads to it."""
    answer = client.get(address)

    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{reverse('admin:login')}?next={address}"


def test_index_shows_levels(admin: Client, feature: Feature, lead: Lead) -> None:
    """The index has each process with its stocks' levels now."""
    processes = admin.get(INDEX).context["processes"]

    assert {one["process"].slug: [level for _, level in one["levels"]] for one in processes} == {
        "web": ["0", "1", "0"],
        "sales": ["1", "1", "0"],
        "coaching": ["0"] * 5,
    }


def test_index_hides_what_one_may_not_see(clerk: Client, feature: Feature, lead: Lead) -> None:
    """Who may view features sees their process, and not that there are others."""
    text = clerk.get(INDEX).content.decode()

    assert "Web platform" in text
    assert "Sales" not in text


def test_index_of_nothing(stranger: Client, feature: Feature) -> None:
    """Who may view nothing is told so."""
    assert b"There is nothing here that you may view" in stranger.get(INDEX).content


@pytest.mark.parametrize("address", [WEB, NEWLY], ids=["process", "members"])
def test_permission_is_needed(
    clerk: Client, stranger: Client, feature: Feature, address: str
) -> None:
    """The permission to view the objects opens their numbers."""
    assert clerk.get(address).status_code == 200
    assert stranger.get(address).status_code == 403


@pytest.mark.parametrize("page", ["process", "members"])
def test_unknown_slug(admin: Client, page: str) -> None:
    """What is not declared is not found."""
    assert admin.get(reverse(f"stockflow:{page}", args=["unheard-of"])).status_code == 404


def test_pages_are_for_reading(admin: Client, feature: Feature) -> None:
    """A page takes no orders."""
    assert admin.post(WEB).status_code == 405


def test_process_has_picture_and_table(admin: Client, feature: Feature) -> None:
    """Levels and flows come as a picture and as the table of the same numbers."""
    asked = {"start": "2026-01-01", "end": "2026-03-01", "every": "month"}
    answer = admin.get(WEB, asked)
    levels, flows = answer.context["report"].sections

    assert levels.names == ("Limited", "Newly available", "Widely available")
    assert [(row.period, row.numbers) for row in levels.rows] == [
        ("Jan 2026", ("1", "0", "0")),
        ("Feb 2026", ("0", "1", "0")),
    ]
    assert [row.numbers for row in flows.rows] == [("0", "0", "0"), ("0", "1", "0")]
    assert answer.content.count(b"<polyline") == 6


def test_process_explains_its_levels(admin: Client, feature: Feature) -> None:
    """Each stock has a table from opening to closing, with what the rows have more."""
    asked = {"start": "2026-01-01", "end": "2026-03-01", "every": "month"}
    answer = admin.get(WEB, asked)
    limited, newly, _ = answer.context["report"].roll_forwards
    lines = {head: [row.numbers[n] for row in newly.rows] for n, head in enumerate(newly.names)}
    explained = sum(int(cells[0]) for head, cells in lines.items() if head.startswith("+"))

    assert limited.title == "Limited: roll-forward"
    assert (lines["Opening"], lines["Closing"]) == (["0", "0"], ["0", "1"])
    assert explained == 0
    assert b"Newly available: roll-forward" in answer.content


def test_process_by_facet(admin: Client, feature: Feature) -> None:
    """Split by a facet, each stock has a picture with a line for each value."""
    answer = admin.get(WEB, {"by": "area"})
    titles = [section.title for section in answer.context["report"].sections]

    assert titles[:3] == ["Limited by area", "Newly available by area", "Widely available by area"]
    assert answer.context["report"].sections[1].names == ("CSS",)


def test_last_row_is_partial(admin: Client, feature: Feature) -> None:
    """A period that has not ended is marked."""
    levels, _ = admin.get(WEB).context["report"].sections

    assert [row.is_partial for row in levels.rows[-2:]] == [False, True]


def test_days_are_cut_in_the_zone(admin: Client, feature: Feature, settings: Settings) -> None:
    """Dates of the address and periods of the table are those of ``STOCKFLOW_TIME_ZONE``."""
    settings.STOCKFLOW_TIME_ZONE = "Asia/Tokyo"
    asked = {"start": "2026-02-01", "end": "2026-02-02", "every": "hour"}
    levels, _ = admin.get(WEB, asked).context["report"].sections

    assert levels.rows[0].period == "2026-02-01 00:00"
    assert [row.numbers[1] for row in levels.rows[8:10]] == [
        "0",
        "1",
    ]  # 09:00 there is midnight UTC


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"start": "soon"}, "Enter a valid date."),
        (
            {"start": "2026-03-04", "end": "2026-03-04"},
            "No day is from 2026-03-04 on and before 2026-03-04",
        ),
        ({"every": "fortnight"}, "fortnight is not one of the available choices."),
        ({"by": "browser"}, "browser is not one of the available choices."),
        ({"start": "1990-01-01", "every": "day"}, "a page shows 1,000"),
        ({"start": "0001-01-01", "every": "hour"}, "buckets"),
    ],
    ids=["no-date", "no-length", "no-period", "no-facet", "too-long", "far-too-long"],
)
def test_what_cannot_be_asked(
    admin: Client, feature: Feature, asked: dict[str, str], message: str
) -> None:
    """A bad address is answered by a page that says what is wrong."""
    answer = admin.get(WEB, asked)

    assert answer.status_code == 400
    assert message in answer.content.decode()


def test_overdue_decay_is_told(admin: Client, feature: Feature, time: Clock) -> None:
    """Where a decay has not fired, each page says until when its numbers hold."""
    time.move_to(datetime(2028, 8, 2, tzinfo=UTC))

    for address in (INDEX, WEB, NEWLY):
        assert "Settled until" in admin.get(address).content.decode()


def test_settled_numbers_need_no_word(admin: Client, feature: Feature) -> None:
    """Where nothing is overdue, nothing is said."""
    for address in (INDEX, WEB, NEWLY):
        assert "Settled until" not in admin.get(address).content.decode()


def test_members_link_to_their_history(admin: Client, feature: Feature) -> None:
    """Each member leads to its history in the admin."""
    text = admin.get(NEWLY).content.decode()

    assert reverse("admin:webplatform_feature_stock_history", args=[feature.pk]) in text
    assert "css.&lt;b&gt;&amp;/1" in text
    assert "2026-02-01 00:00:00" in text


@pytest.mark.parametrize("asked", [{}, {"at": "2026-03-03T12:00:00Z"}], ids=["now", "then"])
def test_members_have_facets_in_words(admin: Client, lead: Lead, asked: dict[str, str]) -> None:
    """Columns are called as the facets, values as their labels."""
    answer = admin.get(reverse("stockflow:members", args=["hot"]), asked)

    assert answer.context["facets"] == ["Channel", "Team"]
    assert [row["facets"] for row in answer.context["members"]] == [["Web", "north"]]


def test_members_at_an_instant(admin: Client, feature: Feature) -> None:
    """The members of the past are those of then."""
    before = admin.get(NEWLY, {"at": "2026-01-31T23:59:59"})
    then = admin.get(NEWLY, {"at": "2026-02-01T00:00:00Z"})

    assert (before.context["count"], then.context["count"]) == ("0", "1")
    assert 'value="2026-02-01T00:00:00"' in then.content.decode()


def test_members_that_were_deleted(admin: Client, feature: Feature, clerk: Client) -> None:
    """A deleted member is shown by its lifecycle, with its events for who may see them."""
    lifecycle = str(feature.stock_lifecycle)
    feature.delete()
    at = {"at": "2026-02-02T00:00:00Z"}

    assert f"/stockflow/event/?q={lifecycle}" in admin.get(NEWLY, at).content.decode()
    assert f"{lifecycle} (deleted)" in clerk.get(NEWLY, at).content.decode()
    assert "/stockflow/event/?q=" not in clerk.get(NEWLY, at).content.decode()


@pytest.mark.parametrize(
    ("at", "message"),
    [("yesterday", "Enter a valid date/time."), ("2027-01-01T00:00:00Z", "is yet to come")],
    ids=["no-instant", "in-the-future"],
)
def test_members_at_no_instant(admin: Client, feature: Feature, at: str, message: str) -> None:
    """What is no instant, or not one of the past, is refused."""
    answer = admin.get(NEWLY, {"at": at})

    assert answer.status_code == 400
    assert message in answer.content.decode()


def test_members_come_in_pages(admin: Client, db: None, time: Clock) -> None:
    """A long list is cut into pages that keep the instant."""
    with stockflow.context(at=datetime(2026, 1, 1, tzinfo=UTC)):
        for number in range(60):
            Feature.objects.create(key=f"css.{number}", area="css")
    address = reverse("stockflow:members", args=["limited"])
    first = admin.get(address, {"at": "2026-01-01T00:00:00Z"})
    second = admin.get(address, {"at": "2026-01-01T00:00:00Z", "page": "2"})

    assert (len(first.context["members"]), len(second.context["members"])) == (50, 10)
    assert "?at=2026-01-01T00%3A00%3A00Z&amp;page=2" in first.content.decode()


def test_a_page_reads_its_own_members(admin: Client, db: None, time: Clock) -> None:
    """Of a long list only the rows of the page are read, with the objects behind their facets."""
    rep = Rep.objects.create(name="Ada", team="north")
    for _ in range(60):
        Lead.objects.create(channel="web", owner=rep)
    with CaptureQueriesContext(connection) as asked:
        answer = admin.get(reverse("stockflow:members", args=["hot"]), {"page": "2"})
    table = Lead._meta.db_table
    reads = [one["sql"] for one in asked if f'FROM "{table}"' in one["sql"]]

    assert [row["facets"] for row in answer.context["members"]] == [["Web", "north"]] * 10
    assert answer.context["count"] == "60"
    assert [sql for sql in reads if "LIMIT 10 OFFSET 50" not in sql and "COUNT(" not in sql] == []


def test_a_page_of_the_past_reads_its_own_members(admin: Client, db: None, time: Clock) -> None:
    """Of an instant too: the database cuts the page, and no other objects are fetched."""
    rep = Rep.objects.create(name="Ada", team="north")
    for _ in range(60):
        Lead.objects.create(channel="web", owner=rep)
    asked = {"at": "2026-03-03T12:00:00Z", "page": "2"}
    with CaptureQueriesContext(connection) as made:
        answer = admin.get(reverse("stockflow:members", args=["hot"]), asked)
    queries = [one["sql"] for one in made]
    fetched = [sql for sql in queries if f'FROM "{Lead._meta.db_table}"' in sql]

    assert (answer.context["count"], len(answer.context["members"])) == ("60", 10)
    assert len([sql for sql in queries if "LIMIT 10 OFFSET 50" in sql]) == 1
    assert len(fetched) == 1


def test_stock_of_no_process(admin: Client, lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stock that no process has stands by itself."""
    from stockflow.projections import Stock, registry

    fresh = registry.Registry()
    monkeypatch.setattr(registry, "declared", fresh)
    Stock("lone", Lead.temperature, states=["hot"])

    assert admin.get(INDEX).context["stocks"] == [(fresh.stocks["lone"], "1")]


def test_range_that_has_not_begun(admin: Client, feature: Feature, time: Clock) -> None:
    """A range of the future has no numbers, and says so."""
    start = time.at + timedelta(days=40)
    asked = {"start": f"{start:%Y-%m-%d}", "end": f"{start + timedelta(days=9):%Y-%m-%d}"}

    assert b"Nothing happened in this range." in admin.get(WEB, asked).content

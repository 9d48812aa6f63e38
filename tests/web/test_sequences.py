"""Views that walk through a stock: who may, how far, and what is passed on."""

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.test import Client, RequestFactory
from django.urls import path, reverse
from django.views.generic import DetailView

from example.crm.models import Lead, Rep
from example.crm.stocks import hot, sales
from stockflow.projections.sequences import (
    SequenceMixin,
    StockSelectionMixin,
    StockSequencerView,
)
from tests.urls import urlpatterns as usual

pytestmark = pytest.mark.urls("tests.web.test_sequences")


class LeadWalk(StockSequencerView):
    """Walks through the leads of the process."""

    process = sales
    pattern_name = "lead"

    def get_members(self) -> "QuerySet[Any]":
        return super().get_members().exclude(channel="secret")


class LeadPage(SequenceMixin, DetailView):  # type: ignore[type-arg]  # no class to subscript at run time
    """Shows one lead."""

    model = Lead
    process = sales
    walk_name = "lead-walk"
    template_name = "stockflow/_walk.html"


urlpatterns = [
    *usual,
    path("lead/walk/", LeadWalk.as_view(), name="lead-walk"),
    path("lead/<int:pk>/", LeadPage.as_view(), name="lead"),
    path("accounts/login/", LeadWalk.as_view(), name="login"),
]
WALK = "/lead/walk/"
STOCK_WALK = reverse("stockflow:walk", args=["hot"])


@pytest.fixture(name="leads")
def _leads(db: None, time: Any) -> list[Lead]:
    owner = Rep.objects.create(name="Ada", team="north")
    return [Lead.objects.create(channel=name, owner=owner) for name in ("web", "fair", "web")]


@pytest.fixture(name="seller")
def _seller(db: None) -> Client:
    """A client logged in as one who may view leads, and is not staff."""
    user = User.objects.create_user("seller")
    may = Permission.objects.get(content_type__app_label="example_crm", codename="view_lead")
    user.user_permissions.add(may)
    client = Client()
    client.force_login(user)
    return client


def where(answer: Any) -> tuple[str, dict[str, list[str]]]:
    """Return where an answer leads: the path and the query string."""
    parts = urlsplit(answer.headers["Location"])
    return parts.path, parse_qs(parts.query, keep_blank_values=True)


def test_a_walk_begins_with_the_first(seller: Client, leads: list[Lead]) -> None:
    """It redirects there, with the selection, the place and what else was asked."""
    answer = seller.get(WALK, {"facet-channel": "web", "tab": "notes"})

    assert where(answer) == (
        f"/lead/{leads[0].pk}/",
        {
            "tab": ["notes"],
            "stock": ["hot"],
            "facet-channel": ["web"],
            "at": [str(leads[0].pk)],
        },
    )


@pytest.mark.parametrize(
    ("step", "found"), [("first", 0), ("previous", 0), ("next", 2), ("last", 2), ("3", 2)]
)
def test_a_walk_goes_on(seller: Client, leads: list[Lead], step: str, found: int) -> None:
    """Wherever the step leads to."""
    answer = seller.get(WALK, {"step": step, "at": str(leads[1].pk)})

    assert where(answer)[0] == f"/lead/{leads[found].pk}/"


def test_a_walk_goes_on_from_who_left(seller: Client, leads: list[Lead]) -> None:
    """The link of the page leads on, though the object left the stock meanwhile."""
    page = seller.get(f"/lead/{leads[1].pk}/", {"stock": "hot", "tab": "notes"})
    link = page.context["walk"].next
    leads[1].win(Decimal(9))
    leads[1].save()
    again = seller.get(f"/lead/{leads[1].pk}/", {"stock": "hot", "at": str(leads[1].pk)})

    assert page.context["walk"].place == (1, 3, True)
    assert where(seller.get(link))[0] == f"/lead/{leads[2].pk}/"
    assert where(seller.get(link))[1]["tab"] == ["notes"]
    assert again.context["walk"].place == (1, 2, False)
    assert b"no longer in it; 1 before and 1 after" in again.content


def test_a_walk_ends(seller: Client, leads: list[Lead]) -> None:
    """After the last there is a page that says so, and leads back."""
    answer = seller.get(WALK, {"step": "next", "at": str(leads[2].pk), "tab": "notes"})

    assert answer.status_code == 200
    assert b"There is none further in Hot: 3 are in it." in answer.content
    assert parse_qs(answer.context["last"][1:]) == {
        "at": [str(leads[2].pk)],
        "tab": ["notes"],
        "stock": ["hot"],
        "step": ["last"],
    }


def test_a_number_that_no_database_counts_to(seller: Client, leads: list[Lead]) -> None:
    """Lies beyond the end, too."""
    answer = seller.get(f"{WALK}?stock=hot&step=99999999999999999999999")

    assert answer.status_code == 200
    assert b"There is none further in Hot" in answer.content


def test_a_walk_through_nobody(seller: Client, db: None) -> None:
    """Ends at once."""
    assert b"There is none in Hot." in seller.get(WALK).content


def test_a_walk_leaves_out_what_the_view_does(seller: Client, leads: list[Lead]) -> None:
    """``get_members`` has the last word."""
    owner = Rep.objects.get()
    Lead.objects.create(channel="secret", owner=owner)

    assert where(seller.get(WALK, {"step": "last"}))[0] == f"/lead/{leads[2].pk}/"


def test_a_page_that_nobody_walked_to(seller: Client, leads: list[Lead]) -> None:
    """Has no walk."""
    assert seller.get(f"/lead/{leads[0].pk}/").context["walk"] is None


def test_a_place_of_another_object(seller: Client, leads: list[Lead]) -> None:
    """Is not taken for this one's."""
    asked = {"stock": "hot", "at": str(leads[2].pk)}
    walk = seller.get(f"/lead/{leads[0].pk}/", asked).context["walk"]

    assert walk.place == (0, 3, True)


@pytest.mark.parametrize(
    "query",
    [
        *("stock=cold", "step=sideways", "step=next&at=x", "facet-size=1", "step=0"),
        *('facet-channel="', "facet-owner__team=%00"),
    ],
)
def test_a_query_string_that_selects_nothing(seller: Client, leads: list[Lead], query: str) -> None:
    """Is answered by 400."""
    assert seller.get(f"{WALK}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["", "?stock=hot", "?stock=cold", "?step=sideways"])
def test_who_may_not_walk(client: Client, stranger: Client, leads: list[Lead], query: str) -> None:
    """Who is not logged in is led to the login; who may not view leads learns nothing at all."""
    page = f"/lead/{leads[0].pk}/{query}"

    for address in (WALK + query, page):
        assert where(client.get(address))[0] == "/accounts/login/"
        assert stranger.get(address).status_code == 403


def test_the_form_offers_what_one_may_view(seller: Client, leads: list[Lead]) -> None:
    """Each stock of the process, with the facets of the one selected."""
    walk = seller.get(f"/lead/{leads[0].pk}/", {"stock": "pipeline", "x": "1"}).context["walk"]

    assert dict(walk.form.fields["stock"].choices) == {s.slug: s.name for s in sales.stocks}
    assert walk.form.fields["facet-channel"].choices[1:] == [
        ("fair", "Trade fair (1)"),
        ("web", "Web (2)"),
    ]
    assert [field.name for field in walk.form.hidden_fields()] == ["x"]


def test_the_ready_made_walk(admin: Client, leads: list[Lead]) -> None:
    """The project's own pages walk through any stock, and show each member's history."""
    first = admin.get(STOCK_WALK, follow=True)
    leads[0].win(Decimal(9))
    leads[0].save()
    second = admin.get(first.context["walk"].next, follow=True)
    end = admin.get(STOCK_WALK, {"step": "9"})

    assert first.redirect_chain[0][0].startswith(f"/stocks/stock/hot/members/{leads[0].pk}/?")
    assert b"It is in Hot." in first.content
    assert b"(outside)" in first.content
    assert second.context["object"] == leads[1]
    assert b"There is none further" in end.content


@pytest.mark.parametrize("page", ["walk", "member"])
def test_who_may_not_walk_the_ready_made_walk(
    client: Client, clerk: Client, stranger: Client, leads: list[Lead], page: str
) -> None:
    """The pages are for staff that may view the objects."""
    address = STOCK_WALK if page == "walk" else f"/stocks/stock/hot/members/{leads[0].pk}/"

    assert where(client.get(address))[0] == "/admin/login/"
    assert clerk.get(address).status_code == 403
    assert stranger.get(address).status_code == 403


def test_members_that_are_none(admin: Client, leads: list[Lead]) -> None:
    """What is not there is not found."""
    for address in ("hot/members/999", "hot/members/x", "cold/members/1", "cold/walk"):
        assert admin.get(f"/stocks/stock/{address}/").status_code == 404


def test_views_that_are_not_finished(leads: list[Lead], admin_user: User) -> None:
    """They say what is missing."""
    request = RequestFactory().get("/")
    request.user = admin_user
    with pytest.raises(ImproperlyConfigured, match="has no stocks to select: set process or"):
        StockSequencerView.as_view()(request)
    with pytest.raises(
        ImproperlyConfigured, match=r"does not know the page of a example_crm\.Lead"
    ):
        StockSequencerView.as_view(stocks=[hot])(request)

    assert issubclass(SequenceMixin, StockSelectionMixin)

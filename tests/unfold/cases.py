"""Transitions and histories in django-unfold: rendered by it, made, and refused.

Run by ``tests/web/test_unfold.py`` under settings of their own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from example.crm.models import Lead as ExampleLead
from example.crm.models import Rep
from stockflow.models import Event
from stockflow.projections.admin import StockAndFlowAdminSite
from stockflow.projections.checks import check_sites
from tests.crm.models import Lead
from tests.stockflow.reading import trail
from tests.unfold.urls import stocks
from tests.web.test_browser import brightness, complaints, has_browser, is_loaded, log_in, opened

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

LEADS = reverse("unfold:crm_lead_changelist")
STOCKS = "/stock-admin/stockflow_projections"


def staff(*names: str) -> Client:
    """Return a client logged in as staff with permissions on leads."""
    user = User.objects.create_user("-".join(names) or "none", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(content_type__app_label="crm", codename__in=names)
    )
    client = Client()
    client.force_login(user)
    return client


def page(deal: Lead, name: str = "change", *more: str) -> str:
    """Return the address of a page of the lead."""
    return reverse(f"unfold:crm_lead_{name}", args=[deal.pk, *more])


@pytest.mark.django_db
def test_buttons_in_unfold() -> None:
    """Its own form, with a button for each transition and the way to the history."""
    deal = Lead.objects.create()
    text = staff("view_lead", "change_lead").get(page(deal)).content.decode()

    assert "unfold/css/styles" in text
    assert f'action="{page(deal, "stock_transition", "touch")}"' in text
    assert f'href="{page(deal, "stock_history")}"' in text
    assert page(deal, "stock_transition", "win") not in text  # for who may close leads
    assert 'name="temperature"' not in text


@pytest.mark.django_db
def test_a_form_in_unfold() -> None:
    """It asks for arguments, refuses bad ones, and makes the transition."""
    deal, client = Lead.objects.create(), Client()
    client.force_login(User.objects.create_superuser("root"))
    address = page(deal, "stock_transition", "win")
    asked, bad = client.get(address), client.post(address, {"amount": "much"})
    client.post(address, {"amount": "900", "stockflow_reason": "signed"})

    assert b"unfold/css/styles" in asked.content
    assert b'name="amount"' in asked.content
    assert b"Enter a whole number." in bad.content
    assert trail(deal) == ["entered >hot", "moved hot>won"]
    assert b"signed" in client.get(page(deal, "stock_history")).content


@pytest.mark.django_db
def test_refusals_in_unfold() -> None:
    """What is refused to a GET is refused to a POST, and a forged one makes nothing."""
    deal, forged = Lead.objects.create(), Client(enforce_csrf_checks=True)
    reader, seller = staff("view_lead"), staff("view_lead", "change_lead")
    forged.force_login(User.objects.create_superuser("root"))
    touch, win = (page(deal, "stock_transition", name) for name in ("touch", "win"))

    for ask in "get", "post":
        assert getattr(reader, ask)(touch).status_code == 403
        assert getattr(seller, ask)(win).status_code == 403
        assert getattr(Client(), ask)(touch).status_code == 302
    assert staff().get(page(deal, "stock_history")).status_code == 403
    assert forged.post(touch).status_code == 403
    assert trail(deal) == ["entered >hot"]


@pytest.mark.django_db
def test_actions_in_unfold() -> None:
    """The list has those that one may make, and moves each that can be moved."""
    deal, lost = Lead.objects.create(), Lead.objects.create()
    lost.lose()
    lost.save()
    client = staff("view_lead", "change_lead")
    choices = dict(client.get(LEADS).context["action_form"].fields["action"].choices)
    told = {"action": "stockflow_touch", "_selected_action": [deal.pk, lost.pk]}
    answer: Any = client.post(LEADS, told)

    assert "stockflow_touch" in choices
    assert "stockflow_win" not in choices  # for who may close leads
    assert [str(message) for message in get_messages(answer.wsgi_request)] == [
        "Touch: 1 changed, 1 not possible from the present state."
    ]


@pytest.fixture(name="member")
def _member(db: None) -> ExampleLead:
    """A lead that is in stocks, and came by a flow."""
    lead = ExampleLead(channel="web", owner=Rep.objects.create(name="Ada"))
    lead.save()
    return lead


def addresses(member: ExampleLead) -> dict[str, str]:
    """Return the addresses of an object's pages in a stock and in a flow."""
    stock, flow = f"{STOCKS}/stock_hot", f"{STOCKS}/flow_arriving"
    event = Event.objects.get(originator=str(member.stock_lifecycle)).pk
    return {
        "list": f"{stock}/",
        "change": f"{stock}/{member.pk}/change/",
        "history": f"{stock}/{member.pk}/history/",
        "stock history": f"{stock}/{member.pk}/stock-history/",
        "transition": f"{stock}/{member.pk}/transition/win/",
        "flow": f"{flow}/",
        "trail": f"{flow}/{member.stock_lifecycle}/stock-history/",
        "event": f"{flow}/{event}/change/",
    }


def test_stocks_and_flows_in_unfold(admin_client: Client, member: ExampleLead) -> None:
    """Each page is unfold's, and its head leads back to the stock's or the flow's own pages."""
    for name, address in addresses(member).items():
        text = admin_client.get(address).content.decode()
        entry = "flow_arriving" if "flow_arriving" in address else "stock_hot"

        assert "unfold/css/styles" in text, name
        assert f'href="{STOCKS}/{entry}/"' in text, name
        if entry == "stock_hot" and name != "list":
            assert f'href="{STOCKS}/{entry}/{member.pk}/change/"' in text, name


def test_a_transition_of_a_stock_in_unfold(admin_client: Client, member: ExampleLead) -> None:
    """Its form makes it, and who has left the stock has a page still."""
    pages = addresses(member)
    answer = admin_client.post(pages["transition"], {"amount": "9"}, follow=True)

    assert answer.redirect_chain == [(pages["change"], 302)]
    assert b"win is done" in answer.content
    assert trail(member) == ["entered >hot", "moved hot>won"]


def test_a_site_that_unfold_cannot_show() -> None:
    """The checks say what to do, of that site alone."""
    plain = StockAndFlowAdminSite("plain")
    told = {error.obj: error for error in check_sites(None)}
    error = told[plain]

    assert stocks not in told
    assert error.id == "stockflow.E031"
    assert error.msg.startswith("The admin site 'plain' is none of django-unfold's")
    assert "UnfoldAdminSite" in str(error.hint)


@pytest.fixture(name="browser")
def _browser(tmp_path: Path) -> Iterator["Chrome"]:
    if not has_browser():
        pytest.skip("no browser: install chromium and chromedriver")
    with opened(tmp_path) as browser:
        yield browser


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [1280, 800], ids=["wide", "narrow"])
def test_a_click_in_unfold(browser: "Chrome", live_server: LiveServer, width: int) -> None:
    """A button makes its transition; where the window is narrow, unfold's menu has it."""
    from selenium.webdriver.support.expected_conditions import element_to_be_clickable
    from selenium.webdriver.support.ui import WebDriverWait

    deal = Lead.objects.create()
    User.objects.create_superuser("root", password="secret")
    browser.set_window_size(width, 800)
    browser.get(live_server.url + page(deal))
    log_in(browser)
    waiting = WebDriverWait(browser, 30)
    button = browser.find_element(
        "css selector", f'form[action="{page(deal, "stock_transition", "touch")}"] button'
    )
    if width < 1024:
        assert not button.is_displayed()
        menu = "//a[contains(., 'more_horiz')]"
        waiting.until(element_to_be_clickable(("xpath", menu))).click()
    browser.execute_script("window.isBefore = true")
    waiting.until(element_to_be_clickable(button)).click()
    waiting.until(is_loaded)

    assert trail(deal) == ["entered >hot", "moved hot>hot"]
    assert "touch is done" in browser.find_element("tag name", "body").text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_process_in_unfold(browser: "Chrome", live_server: LiveServer, scheme: str) -> None:
    """Its text is read on unfold's ground, light or dark, and unfold's scripts leave it alone."""
    User.objects.create_superuser("root", password="secret")
    asked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    browser.get(live_server.url + reverse("stockflow:process", args=["sales"]))
    log_in(browser)
    title = browser.find_element("css selector", ".stockflow h2").value_of_css_property("color")
    tick = browser.find_element("css selector", ".picture .tick").value_of_css_property("fill")

    for colour in title, tick:
        assert (brightness(colour) > 150) == (scheme == "dark")
    assert complaints(browser) == []

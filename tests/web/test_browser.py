"""The pages in a real browser: one logs in, sees the picture, and nothing is blocked."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from example.coaching.models import Coach, Profile
from example.crm.models import Lead, Rep
from example.webplatform.models import Feature

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def has_browser() -> bool:
    """Whether there is a browser, and what drives it."""
    return bool(CHROMIUM and DRIVER)


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not has_browser(),
        reason="no browser: install chromium and chromedriver (on Debian: chromium chromium-driver)",
    ),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)


@contextmanager
def opened(folder: Path) -> Iterator["Chrome"]:
    """A browser that keeps its things in *folder*, closed at the end."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture(name="opened_once", scope="module")
def _opened_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    with opened(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(name="browser")
def _browser(opened_once: "Chrome") -> Iterator["Chrome"]:
    """A browser that remembers nothing: no login, no cached file, no preference, no complaint."""
    yield opened_once
    opened_once.get("about:blank")  # no page of this test asks the next one's site for anything
    opened_once.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    opened_once.execute_cdp_cmd("Network.clearBrowserCookies", {})
    opened_once.execute_cdp_cmd("Network.clearBrowserCache", {})
    complaints(opened_once)  # what was said is not said again


@pytest.fixture(name="site")
def _site(live_server: LiveServer, feature: Feature) -> str:
    """A site with a feature and a profile, and somebody who may log in."""
    coach = Coach.objects.create(name="Frida")
    Profile.objects.create(pk=7, name="Ida", coach=coach, ramp="steep", source="ad")
    User.objects.create_superuser("root", password="secret")
    return live_server.url


def log_in(browser: "Chrome") -> None:
    """Fill in the form that the page led to, and wait for the page behind it."""
    browser.find_element("name", "username").send_keys("root")
    browser.find_element("name", "password").send_keys("secret")
    follow(browser, browser.find_element("css selector", "[type=submit]"))


def follow(browser: "Chrome", link: "WebElement") -> None:
    """Click a link or a button, and wait for the page behind it: a click may return before."""
    from selenium.webdriver.support.ui import WebDriverWait

    # The next page does not know that it comes after.
    browser.execute_script("window.isBefore = true")
    link.click()
    WebDriverWait(browser, 30).until(is_loaded)


def is_loaded(browser: "Chrome") -> bool:
    """Whether the page is there whole, and is not the one that is marked as the page before."""
    said = "return !window.isBefore && document.readyState === 'complete'"
    return bool(browser.execute_script(said))


def complaints(browser: "Chrome") -> list[str]:
    """Return what the browser's console has to say, but for the icon that no site here has."""
    said: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
    return [line["message"] for line in said if "favicon.ico" not in line["message"]]


def test_process_page(browser: "Chrome", site: str) -> None:
    """After the login the process is drawn, in colours, and a strict policy blocks nothing."""
    browser.get(site + reverse("stockflow:process", args=["web"]))
    log_in(browser)

    lines = browser.find_elements("css selector", ".picture svg .line")
    assert len(lines) == 6
    assert lines[0].value_of_css_property("stroke").startswith("rgb(11, 111, 174")
    assert browser.find_element("css selector", ".picture svg").size["height"] > 100
    assert complaints(browser) == []


def test_dark_mode(browser: "Chrome", site: str) -> None:
    """Who prefers dark pages gets dark pages, with colours made for them."""
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.get(site + reverse("stockflow:process", args=["web"]))
    log_in(browser)

    line = browser.find_element("css selector", ".picture svg .line")
    assert line.value_of_css_property("stroke").startswith("rgb(92, 184, 242")


def brightness(colour: str) -> float:
    """Return how bright a colour of a style is, from 0 to 255; what is transparent is refused."""
    parts = [float(part) for part in re.findall(r"[0-9.]+", colour)]
    assert len(parts) == 3 or parts[3] == 1, colour

    return sum(parts[:3]) / 3 * (1 if colour.startswith("rgb") else 255)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outside_of_the_admin(browser: "Chrome", site: str, scheme: str) -> None:
    """A page without the admin's colours has the browser's: text is read, and fields are seen."""
    asked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    browser.get(f"{site}/admin/login/?next=/coaching/")
    log_in(browser)
    tick = browser.find_element("css selector", ".picture svg .tick").value_of_css_property("fill")
    browser.get(f"{site}/coaching/profile/7/?stock=new")
    number = browser.find_element("name", "step")
    button = browser.find_element("css selector", ".asked button")
    dark, light = sorted([brightness(tick), 255 if scheme == "light" else 18])

    assert light - dark > 120
    assert number.value_of_css_property("border-top-style") == "solid"
    assert button.value_of_css_property("background-color").startswith("rgba(65, 118, 144")


def test_buttons_are_of_one_height(browser: "Chrome", site: str) -> None:
    """A transition's button looks like the links beside it."""
    browser.get(f"{site}/admin/webplatform/feature/")
    log_in(browser)
    lead = Lead.objects.create(channel="web", owner=Rep.objects.create(name="Ada", team="north"))
    lead.cool()
    lead.save()
    browser.get(site + reverse("admin:example_crm_lead_change", args=[lead.pk]))
    tools = browser.find_elements("css selector", ".object-tools :is(a, button)")

    assert len(tools) >= 3
    assert len({tool.size["height"] for tool in tools}) == 1


@pytest.mark.parametrize(
    "address",
    [
        "/stocks/",
        "/stocks/stock/newly/",
        "/admin/stockflow/event/",
        "/admin/webplatform/feature/?stock=newly",
        "/stocks/stock/newly/walk/",
        "/stocks/stock/newly/walk/?step=9",
        "/example-admin/",
        "/example-admin/stockflow_projections/stock_newly/",
        "/example-admin/stockflow_projections/flow_reaching/",
        "/admin/login/?next=/coaching/",
        "/admin/login/?next=/coaching/walk/?stock=new",
        "/admin/login/?next=/coaching/profile/7/?stock=new",
        "/admin/stockflow/scheduledtransition/",
        "/admin/stockflow_projections/eventcall/",
    ],
    ids=[
        *("index", "members", "events", "list", "member", "end"),
        *("site", "entry-of-a-stock", "entry-of-a-flow"),
        *("coaching", "coach-walk", "coach-profile", "schedule", "event-calls"),
    ],
)
def test_pages_keep_the_policy(browser: "Chrome", site: str, address: str) -> None:
    """No page needs more than files of the site."""
    browser.get(site + address)
    log_in(browser)

    assert browser.find_elements("css selector", "#content-main, #changelist, .stockflow")
    assert complaints(browser) == []


def test_history_is_a_click_away(browser: "Chrome", site: str) -> None:
    """From the index one gets to the members of a stock, and to the history of one."""
    browser.get(site + reverse("stockflow:index"))
    log_in(browser)
    follow(browser, browser.find_element("css selector", 'a[href="/stocks/stock/newly/"]'))
    follow(browser, browser.find_element("partial link text", "css."))

    assert "Stock history" in browser.title
    assert complaints(browser) == []


def test_a_lead_is_won(browser: "Chrome", site: str) -> None:
    """By a button, a form for its argument and a word on why; the policy blocks nothing."""
    lead = Lead.objects.create(channel="web", owner=Rep.objects.create(name="Ada", team="north"))
    browser.get(site + reverse("admin:example_crm_lead_change", args=[lead.pk]))
    log_in(browser)
    follow(browser, browser.find_element("partial link text", "WIN"))
    browser.find_element("name", "amount").send_keys("900")
    browser.find_element("name", "stockflow_reason").send_keys("signed")
    follow(browser, browser.find_element("css selector", "#transition_form [type=submit]"))

    assert "win is done" in browser.find_element("css selector", ".messagelist").text
    assert complaints(browser) == []
    assert lead.stock_history()[-1].reason == "signed"


def test_a_lead_is_rekindled(browser: "Chrome", site: str) -> None:
    """One without arguments by the button alone."""
    lead = Lead.objects.create(channel="web", owner=Rep.objects.create(name="Ada", team="north"))
    lead.cool()
    lead.save()
    browser.get(site + reverse("admin:example_crm_lead_change", args=[lead.pk]))
    log_in(browser)
    follow(browser, browser.find_element("css selector", ".stockflow-button button"))

    assert "rekindle is done" in browser.find_element("css selector", ".messagelist").text
    assert complaints(browser) == []

"""The admin site of stocks and flows: what is there, for whom, and what can be done."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.core.checks import run_checks
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import Client
from django.urls import path

import stockflow
from example.crm.models import Lead, Rep
from example.crm.stocks import arriving, hot, pipeline, winning, won
from example.webplatform.models import Feature
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import Facet, Stock, registry
from stockflow.projections.admin import ActionsMixinBase, StockAdmin, StockAndFlowAdminSite
from stockflow.projections.sites import StockAndFlowAdminSite as Same
from stockflow.testing import Clock
from tests.stockflow.reading import trail
from tests.urls import urlpatterns as usual

pytestmark = pytest.mark.urls("tests.web.test_stock_site")


class RekindleActions(ActionsMixinBase):
    """One action, for who may change leads."""

    actions = ("call_back",)

    @admin.action(description="Call them back")
    def call_back(self, request: Any, queryset: QuerySet[Any]) -> None:
        for lead in queryset:
            lead.rekindle()
            lead.save()


class MailActions(ActionsMixinBase):
    """Another one, for everybody who may look."""

    actions = ("mail",)

    @admin.action(description="Mail them", permissions=["view"])
    def mail(self, request: Any, queryset: QuerySet[Any]) -> None:
        self.message_user(request, f"Mailed {queryset.count()}.")  # type: ignore[attr-defined]


site = StockAndFlowAdminSite("stocks")
site.register_stock(pipeline, action_mixins=[RekindleActions, MailActions])
site.register_declared()
second = StockAndFlowAdminSite("second")
second.register_stock(won, list_display=["id", "channel"], date_hierarchy="", transitions=[])
second.register_flow(winning)

urlpatterns = [
    *usual,
    path("stock-admin/", site.urls),
    path("second/", second.urls),
]
LISTS = "/stock-admin/stockflow_projections"
HOT = f"{LISTS}/stock_hot/"
ARRIVING = f"{LISTS}/flow_arriving/"


def staff(*names: str) -> Client:
    """Return a client logged in as staff with permissions on leads."""
    user = User.objects.create_user("-".join(names) or "none", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(content_type__app_label="example_crm", codename__in=names)
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(name="viewer")
def _viewer(db: None) -> Client:
    return staff("view_lead")


@pytest.fixture(name="changer")
def _changer(db: None) -> Client:
    return staff("view_lead", "change_lead")


@pytest.fixture(name="warm")
def _warm(db: None, time: Clock) -> Lead:
    """A lead that came on 1 February and is warm since 8 February."""
    lead = Lead(channel="fair", owner=Rep.objects.create(name="Bert", team="south"))
    with stockflow.context(at=datetime(2026, 2, 1, 9, tzinfo=UTC)):
        lead.save()
    with stockflow.context(at=datetime(2026, 2, 8, 9, tzinfo=UTC)):
        lead.cool()
        lead.save()
    return lead


def keys(answer: Any) -> list[Any]:
    """Return the keys of the rows that a list shows."""
    return [row.pk for row in answer.context_data["cl"].result_list]


def told(answer: Any) -> list[str]:
    """Return the messages that an answer leaves."""
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_an_entry_for_each_in_declared_order(admin: Client, db: None) -> None:
    """Stocks, then flows, each as its ``stocks`` module has it, and nothing else."""
    groups = admin.get("/stock-admin/").context["app_list"]
    names = {group["name"]: [one["name"] for one in group["models"]] for group in groups}

    assert names == {
        "Stocks": [stock.name for stock in registry.declared.stocks.values()],
        "Flows": [flow.name for flow in registry.declared.flows.values()],
    }
    assert {"Limited", "Pipeline", "Logins so far"} <= set(names["Stocks"])


def test_entries_are_shown_to_who_may_view_their_objects(viewer: Client, db: None) -> None:
    """And are there to be viewed."""
    answer = viewer.get("/stock-admin/")
    groups = answer.context["app_list"]

    assert [[one["name"] for one in group["models"]] for group in groups] == [
        ["Hot", "Pipeline", "Won"],
        ["Arriving", "Winning"],
    ]
    assert b"viewlink" in answer.content
    assert b"changelink" not in answer.content
    assert b"addlink" not in answer.content


@pytest.mark.parametrize("page", ["list", "change", "stock-history", "history", "flow", "trail"])
def test_who_may_see_what(
    client: Client, stranger: Client, viewer: Client, warm: Lead, page: str
) -> None:
    """Nobody without a login, no staff without the permission to view the objects."""
    address = {
        "list": f"{LISTS}/stock_pipeline/",
        "change": f"{LISTS}/stock_pipeline/{warm.pk}/change/",
        "stock-history": f"{LISTS}/stock_pipeline/{warm.pk}/stock-history/",
        "history": f"{LISTS}/stock_pipeline/{warm.pk}/history/",
        "flow": ARRIVING,
        "trail": f"{ARRIVING}{warm.stock_lifecycle}/stock-history/",
    }[page]

    assert client.get(address).headers["Location"].startswith("/stock-admin/login/")
    assert stranger.get(address).status_code == 403
    assert viewer.get(address).status_code == 200


def test_a_list_has_the_members(viewer: Client, lead: Lead, warm: Lead) -> None:
    """Those of the stock, with state, instants, facets and a link to each history."""
    both, one = viewer.get(f"{LISTS}/stock_pipeline/"), viewer.get(HOT)
    text = both.content.decode()

    assert keys(both) == [lead.pk, warm.pk]
    assert keys(one) == [lead.pk]
    for shown in ("warm", "Feb. 8, 2026, 9 a.m.", "Trade fair", "south", "March 10, 2026, noon"):
        assert shown in text
    assert (
        f'href="/stock-admin/stockflow_projections/stock_pipeline/{warm.pk}/stock-history/"' in text
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("facet-channel=fair", ["warm"]),
        ("facet-team=north", ["lead"]),
        ("facet-channel=fair&facet-team=north", []),
        ("temperature_since__year=2026&temperature_since__month=2", ["warm"]),
    ],
)
def test_filters(viewer: Client, lead: Lead, warm: Lead, query: str, found: list[str]) -> None:
    """By each facet, and by when they came."""
    made = {"lead": lead.pk, "warm": warm.pk}
    answer = viewer.get(f"{LISTS}/stock_pipeline/?{query}")

    assert keys(answer) == [made[name] for name in found]


def test_filters_have_labels(viewer: Client, lead: Lead, warm: Lead) -> None:
    """A facet's own; and they are those of the members."""
    specs = viewer.get(f"{LISTS}/stock_pipeline/").context["cl"].filter_specs

    assert [spec.lookup_choices for spec in specs] == [
        [("fair", "Trade fair"), ("web", "Web")],
        [("north", "north"), ("south", "south")],
    ]


def test_a_filter_by_a_facet_with_a_prefix(
    lead: Lead, warm: Lead, rf: Any, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the facet's name, and narrows through the relation."""
    monkeypatch.setattr(registry, "declared", registry.Registry())
    team = Facet("side", "team", labels={"north": "The north"})
    fresh, named = StockAndFlowAdminSite("stocks"), [(team, "owner")]
    fresh.register_stock(Stock("hot", Lead.temperature, states=["hot", "warm"], facets=named))
    (one,) = fresh._registry.values()
    request = rf.get("/", {"facet-side": "north"})
    request.user = admin_user
    answer: Any = one.changelist_view(request)
    cl = answer.context_data["cl"]

    assert keys(answer) == [lead.pk]
    assert [spec.lookup_choices for spec in cl.filter_specs] == [
        [("north", "The north"), ("south", "south")]
    ]


def test_a_walk_goes_by_the_filters(viewer: Client, warm: Lead) -> None:
    """The list leads to the walk through what it shows."""
    answer = viewer.get(f"{LISTS}/stock_pipeline/", {"facet-channel": "fair", "p": "0", "q": ""})

    assert answer.context["walk_url"] == "/stocks/stock/pipeline/walk/?facet-channel=fair"


def test_a_filter_that_cannot_be(viewer: Client, warm: Lead) -> None:
    """Leads back to the list, as the admin does."""
    answer = viewer.get(f"{LISTS}/stock_pipeline/", {"facet-channel": '"'})

    assert answer.headers["Location"].endswith("?e=1")


def test_rows_are_read_only(admin: Client, warm: Lead) -> None:
    """Nobody adds, deletes or writes one by hand, whatever their permissions."""
    base = f"{LISTS}/stock_pipeline"

    assert admin.get(f"{base}/add/").status_code == 403
    assert admin.post(f"{base}/{warm.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.post(f"{base}/{warm.pk}/change/", {"channel": "web"}).status_code == 403
    form = admin.get(f"{base}/{warm.pk}/change/")
    assert b'name="_save"' not in form.content
    assert b'name="channel"' not in form.content
    post = {"action": "delete_selected", "_selected_action": [warm.pk], "post": "yes"}
    admin.post(f"{base}/", post)
    assert trail(warm) == ["entered >hot", "moved hot>warm"]


def choices(client: Client, address: str) -> list[str]:
    """Return the actions that a list offers."""
    form = client.get(address).context["action_form"]
    return [] if form is None else [name for name, _ in form.fields["action"].choices if name]


def test_actions(admin: Client, changer: Client, viewer: Client, warm: Lead) -> None:
    """Those of all mixins, and the transitions out of the stock, for whom they are for."""
    base = f"{LISTS}/stock_pipeline/"

    assert choices(admin, base) == [
        *("call_back", "mail", "stockflow_rekindle", "stockflow_win"),
    ]
    assert choices(changer, base) == ["call_back", "mail", "stockflow_rekindle"]
    assert choices(viewer, base) == ["mail"]
    assert choices(admin, HOT) == ["stockflow_win"]


def test_rows_are_called_as_the_model_has_it(admin: Client, warm: Lead) -> None:
    """One of a stock's objects is a lead, not a Pipeline."""
    base = f"{LISTS}/stock_pipeline/"
    listed = admin.get(base)
    post = {"action": "stockflow_win", "_selected_action": [warm.pk]}
    labels = dict(listed.context["action_form"].fields["action"].choices)

    assert listed.context["title"] == "Pipeline"
    assert "1 lead\n" in listed.content.decode()
    assert labels["stockflow_rekindle"] == "Rekindle selected leads"
    assert b"1 lead selected." in admin.post(base, post).content
    assert admin.get(f"{base}{warm.pk}/change/").context["title"] == "View lead"
    assert "1 event\n" in admin.get(ARRIVING).content.decode()


def test_an_action_is_recorded_as_the_user_s(changer: Client, warm: Lead) -> None:
    """Whatever it calls."""
    post = {"action": "call_back", "_selected_action": [warm.pk]}
    changer.post(f"{LISTS}/stock_pipeline/", post)
    event = Event.objects.latest("id")

    assert (event.transition, event.actor.partition(":")[0]) == ("rekindle", "auth.user")


def test_an_action_without_the_permission(viewer: Client, warm: Lead) -> None:
    """A forged request makes nothing."""
    for name in ("call_back", "stockflow_rekindle"):
        post = {"action": name, "_selected_action": [warm.pk]}
        viewer.post(f"{LISTS}/stock_pipeline/", post)

    assert trail(warm) == ["entered >hot", "moved hot>warm"]


def test_a_transition_by_button(changer: Client, viewer: Client, warm: Lead) -> None:
    """An object's page has the buttons; who left the stock still has a page."""
    page = f"{LISTS}/stock_pipeline/{warm.pk}/change/"
    move = f"{LISTS}/stock_pipeline/{warm.pk}/transition/rekindle/"

    assert [one.label for one in changer.get(page).context["stock_buttons"]] == ["Rekindle"]
    assert viewer.get(page).context["stock_buttons"] == []
    assert viewer.post(move).status_code == 403
    assert changer.post(move).headers["Location"] == page
    assert trail(warm)[-1] == "moved warm>hot"


def test_what_left_the_stock_meanwhile_is_told(admin: Client, lead: Lead) -> None:
    """An action on who is not in it any more changes nothing, and says so."""
    lead.cool()
    lead.save()
    post = {"action": "stockflow_win", "_selected_action": [lead.pk]}
    given = {**post, "stockflow_confirmed": "1", "amount": "9"}

    assert told(admin.post(HOT, given)) == [
        "Win: none changed, since what was selected is not in this list any more."
    ]
    assert trail(lead) == ["entered >hot", "moved hot>warm"]


def test_who_left_the_stock_has_a_page(admin: Client, lead: Lead) -> None:
    """It says where the object is now."""
    answer = admin.post(f"{LISTS}/stock_hot/{lead.pk}/transition/win/", {"amount": "9"})
    page = admin.get(answer.headers["Location"])

    assert page.status_code == 200
    assert b"win is done" in page.content
    assert keys(admin.get(HOT)) == []
    assert admin.get(f"{LISTS}/stock_hot/x/change/").status_code == 302


def test_what_its_own_admin_seals_stays_sealed(
    changer: Client, warm: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of the model's own admin for an object holds here, too."""
    own = admin.site._registry[Lead]
    monkeypatch.setattr(own, "has_change_permission", lambda request, obj=None: obj is None)
    answer = changer.post(f"{LISTS}/stock_pipeline/{warm.pk}/transition/rekindle/")

    assert answer.status_code == 403


def test_a_flow_has_its_events(viewer: Client, lead: Lead, warm: Lead) -> None:
    """The newest first, with each object's history, though it may be gone."""
    lifecycle = lead.stock_lifecycle
    lead.delete()
    answer = viewer.get(ARRIVING)
    text = answer.content.decode().replace("\N{NO-BREAK SPACE}", " ")

    assert [event.originator for event in answer.context["cl"].result_list] == [
        str(lifecycle),
        str(warm.stock_lifecycle),
    ]
    for shown in ("2026-02-01 09:00:00", "(outside) → hot", f"{lifecycle} (deleted)", str(warm)):
        assert shown in text
    trace = viewer.get(f"{ARRIVING}{lifecycle}/stock-history/").content.decode()
    assert "left" in trace


def test_an_event_has_its_object(viewer: Client, lead: Lead) -> None:
    """On its own page too, which says that an object is deleted only where it is."""
    gone, shown = str(lead.stock_lifecycle), str(lead)
    page = f"{ARRIVING}{Event.objects.get(originator=gone).pk}/change/"
    there = viewer.get(page).content.decode()
    lead.delete()

    assert f">{shown}</a>" in there
    assert f">{gone} (deleted)</a>" in viewer.get(page).content.decode()


def test_a_flow_shows_nothing_of_others(viewer: Client, lead: Lead, feature: Feature) -> None:
    """The history of an object that it did not move is not there."""
    address = f"{ARRIVING}{feature.stock_lifecycle}/stock-history/"

    assert viewer.get(address).status_code == 404


@pytest.mark.parametrize(
    ("when", "found", "titles"),
    [
        ("", 3, ["2025", "2026"]),
        ("2026", 2, ["February 2026", "March 2026"]),
        ("2026-03", 1, ["3 March 2026"]),
        ("2026-03-03", 1, ["3 March 2026"]),
        ("2026-01", 0, ["January 2026"]),
    ],
)
def test_events_by_date(
    viewer: Client, lead: Lead, warm: Lead, when: str, found: int, titles: list[str]
) -> None:
    """Years lead to months, months to days; those without an event are left out."""
    with stockflow.context(at=datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)):
        Lead.objects.create(channel="web", owner=lead.owner)
    cl = viewer.get(ARRIVING, {"occurred": when}).context["cl"]

    assert cl.result_count == found
    assert [choice["title"] for choice in cl.hierarchy()["choices"]] == titles


def test_days_are_those_of_the_reader(viewer: Client, lead: Lead, settings: Any) -> None:
    """What was at noon in London was on the next day in Kiritimati."""
    settings.TIME_ZONE = "Pacific/Kiritimati"

    assert viewer.get(ARRIVING, {"occurred": "2026-03-04"}).context["cl"].result_count == 1


@pytest.mark.parametrize(
    "when", ["spring", "2026-13", "2026-02-30", "2026-1-1-1", "9999", "0", "٣"]
)
def test_dates_that_there_are_not(viewer: Client, lead: Lead, when: str) -> None:
    """Lead back to the list."""
    assert viewer.get(ARRIVING, {"occurred": when}).headers["Location"].endswith("?e=1")


def test_events_by_transition(admin: Client, lead: Lead) -> None:
    """Each flow's list narrows by the transitions of its field."""
    admin.post(f"{LISTS}/stock_hot/{lead.pk}/transition/win/", {"amount": "9"})
    flows = [
        admin.get(f"{LISTS}/flow_winning/", {"transition": name}) for name in ("win", "rekindle")
    ]

    assert [len(answer.context["cl"].result_list) for answer in flows] == [1, 0]


def test_two_sites(admin: Client, lead: Lead) -> None:
    """Each has its own entries, options and addresses."""
    admin.post(f"{LISTS}/stock_hot/{lead.pk}/transition/win/", {"amount": "9"})
    answer = admin.get("/second/stockflow_projections/stock_won/")
    change = f"/second/stockflow_projections/stock_won/{lead.pk}/change/"

    assert keys(answer) == [lead.pk]
    assert change in answer.content.decode()
    assert choices(admin, "/second/stockflow_projections/stock_won/") == []
    assert admin.get("/second/stockflow_projections/stock_hot/").status_code == 404
    assert "/stock-admin/" not in admin.get(change).content.decode()


def test_no_model_is_made(capsys: pytest.CaptureFixture[str], db: None) -> None:
    """Neither the registry nor ``makemigrations`` sees an entry, and the checks are content."""
    before = set(apps.get_models())
    again = StockAndFlowAdminSite("again")
    again.register_declared()
    call_command("makemigrations", "--check", "--dry-run")

    assert set(apps.get_models()) == before
    assert "No changes detected" in capsys.readouterr().out
    found = run_checks(databases=["default"])
    assert [error for error in found if "projections.sites" in str(error.obj)] == []
    assert again.check(None) == []
    assert Lead not in again._registry
    assert Lead.__subclasses__() == []


def test_a_module_that_is_loaded_again(recwarn: pytest.WarningsRecorder) -> None:
    """A site made once more clashes with nothing."""
    for _ in range(2):
        fresh = Same("fresh")
        fresh.register_declared()
        assert len(fresh._registry) == len(registry.declared.stocks) + len(registry.declared.flows)

    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("register", "given", "message"),
    [
        ("register_stock", (arriving,), "<Flow: arriving> is no Stock: flows go to register_flow"),
        ("register_flow", (hot,), "<Stock: hot> is no Flow: stocks go to register_stock"),
        ("register_stock", (pipeline,), "has an entry in the site 'fresh' already"),
    ],
)
def test_what_cannot_be_registered(register: str, given: Any, message: str) -> None:
    """It says why."""
    fresh = StockAndFlowAdminSite("fresh")
    fresh.register_stock(pipeline)
    with pytest.raises(InvalidDeclaration, match=message):
        getattr(fresh, register)(*given)


def test_lists_are_not_edited() -> None:
    """Not by an option, either."""
    fresh = StockAndFlowAdminSite("fresh")
    with pytest.raises(InvalidDeclaration, match="rows of 'hot' are read-only, so list_editable"):
        fresh.register_stock(hot, list_editable=["channel"])


def test_who_sees_some_objects_only(lead: Lead, warm: Lead, rf: Any, admin_user: User) -> None:
    """An admin of one's own narrows the rows, and with them the pages."""

    class OwnTeam(StockAdmin):
        def get_subjects(self, request: Any) -> QuerySet[Any]:
            rows: QuerySet[Any] = Lead.objects.filter(owner__team="south")
            return rows

    fresh = StockAndFlowAdminSite("fresh")
    fresh.register_stock(pipeline, OwnTeam)
    (one,) = fresh._registry.values()
    request = rf.get("/")
    request.user = admin_user

    assert list(one.get_queryset(request)) == [warm]
    assert one.get_object(request, str(lead.pk)) is None


def test_a_sampled_stock_has_an_entry(admin: Client, rf: Any, admin_user: User) -> None:
    """Its rows are read-only too, and it says what it is."""
    sampled = Stock("staff", queryset=User.objects.filter(is_staff=True))
    try:
        fresh = StockAndFlowAdminSite("stocks")
        fresh.register_stock(sampled)
        (one,) = fresh._registry.values()
        request = rf.get("/")
        request.user = admin_user

        assert set(one.get_queryset(request)) == set(User.objects.all())
        assert not one.has_change_permission(request, admin_user)
        assert one.get_actions(request) == {}
        assert str(one.opts.verbose_name_plural) == "Staff (sampled)"
        assert fresh.check(None) == []
    finally:
        del registry.declared.stocks["staff"]

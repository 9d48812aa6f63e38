"""The admin: states are shown, histories told, and what is saved there is recorded."""

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from example.crm.models import Lead, Rep
from example.webplatform.models import Feature
from stockflow.models import Event
from tests.fence.down import fence_down

EVENTS = reverse("admin:stockflow_event_changelist")
FEATURES = reverse("admin:webplatform_feature_changelist")
LEADS = reverse("admin:example_crm_lead_changelist")


def history(feature: Feature) -> str:
    """Return the address of the feature's history."""
    return reverse("admin:webplatform_feature_stock_history", args=[quote(feature.pk)])


def page_of(lead: Lead) -> str:
    """Return the address of the lead's form."""
    return reverse("admin:example_crm_lead_change", args=[lead.pk])


def test_history_tells_all(admin: Client, feature: Feature) -> None:
    """The history page says when, from, to, who, why and how long, and escapes it."""
    text = admin.get(history(feature)).content.decode()

    for told in (
        *("2025-06-01 00:00:00", "2026-02-01 00:00:00", "(outside)", "limited", "newly"),
        *("import", "reach_all", "245 d 00:00:00", "30 d 12:00:00</span> so far"),
        *("&lt;i&gt;shipped&lt;/i&gt;", "css.&lt;b&gt;&amp;/1"),
    ):
        assert told in text


def test_history_is_linked(admin: Client, feature: Feature) -> None:
    """The form of an object links to its history."""
    form = admin.get(reverse("admin:webplatform_feature_change", args=[feature.pk]))

    assert history(feature) in form.content.decode()


def test_history_for_who_may_view(clerk: Client, feature: Feature) -> None:
    """To view an object is to view its history."""
    assert clerk.get(history(feature)).status_code == 200


def test_history_for_who_may_not(stranger: Client, feature: Feature) -> None:
    """Who may not view the object does not learn its history."""
    assert stranger.get(history(feature)).status_code == 403


def test_history_needs_a_login(client: Client, feature: Feature) -> None:
    """Nobody sees it without a login."""
    answer = client.get(history(feature))

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(reverse("admin:login"))


def test_history_of_nothing(admin: Client, feature: Feature) -> None:
    """A key that is none is not found."""
    address = reverse("admin:webplatform_feature_stock_history", args=["999"])

    assert admin.get(address).status_code == 404


def test_history_of_nothing_for_who_may_not(stranger: Client, db: None) -> None:
    """Who may not view objects does not learn which there are."""
    address = reverse("admin:webplatform_feature_stock_history", args=["999"])

    assert stranger.get(address).status_code == 403


def test_history_not_begun(admin: Client, feature: Feature) -> None:
    """A row older than its history says so."""
    old = Feature(key="old", area="css")
    with fence_down():
        old.save_base(raw=True)

    assert b"Nothing is recorded of it yet" in admin.get(history(old)).content


def test_state_is_read_only(admin: Client, lead: Lead) -> None:
    """The form shows the state, since when and until when, and cannot change them."""
    form = admin.get(page_of(lead)).content.decode()

    assert "hot" in form
    assert "March 3, 2026, noon" in form
    assert "March 10, 2026, noon" in form
    assert 'name="temperature' not in form


def test_saved_in_the_admin(admin: Client, lead: Lead) -> None:
    """A facet changed in the form is recorded, with the user as its actor."""
    told = {"channel": "phone", "owner": lead.owner_id, "amount": "0"}
    answer = admin.post(page_of(lead), told)

    assert answer.status_code == 302
    event = Event.objects.latest("id")
    assert (event.kind, event.target_facets) == (
        "reclassified",
        '{"channel":"phone","owner__team":"north"}',
    )
    assert event.actor.startswith("auth.user:")


def test_added_in_the_admin(admin: Client, db: None) -> None:
    """An object added in the form has its opening event."""
    rep = Rep.objects.create(name="Ada", team="north")
    told = {"channel": "web", "owner": rep.pk, "amount": "0"}
    admin.post(reverse("admin:example_crm_lead_add"), told)

    assert [entry.target for entry in Lead.objects.get().stock_history()] == ["hot"]


def test_deleted_in_the_admin(admin: Client, lead: Lead) -> None:
    """An object deleted in the admin has its closing event."""
    admin.post(reverse("admin:example_crm_lead_delete", args=[lead.pk]), {"post": "yes"})

    assert not Lead.objects.exists()
    assert list(Event.objects.order_by("id").values_list("kind", flat=True)) == ["entered", "left"]


def test_deleted_in_bulk(admin: Client, lead: Lead) -> None:
    """So have those deleted by the list's own action."""
    told = {"action": "delete_selected", "_selected_action": [lead.pk], "post": "yes"}
    admin.post(LEADS, told)

    assert not Lead.objects.exists()
    assert Event.objects.latest("id").actor.startswith("auth.user:")


@pytest.mark.parametrize(
    ("stock", "found"),
    [("hot", 1), ("pipeline", 1), ("won", 0), ("newly", 1)],
    ids=["in-it", "in-a-wider-one", "not-in-it", "of-another-model"],
)
def test_list_by_stock(admin: Client, lead: Lead, stock: str, found: int) -> None:
    """The list narrows to a stock's members; a stock of another model is no choice."""
    answer = admin.get(LEADS, {"stock": stock})

    assert answer.context["cl"].result_count == found


def test_events_are_listed(admin: Client, feature: Feature) -> None:
    """The log reads as sentences: when, what, from, to, who."""
    text = admin.get(EVENTS, {"model": "webplatform.feature", "field": "status"}).content.decode()
    text = text.replace("\N{NO-BREAK SPACE}", " ")

    for told in ("2026-02-01 00:00:00", "limited → newly", "(outside) → limited", "reach_all"):
        assert told in text


def test_events_of_another_model(admin: Client, feature: Feature, lead: Lead) -> None:
    """The filters narrow the log."""
    by_model = admin.get(EVENTS, {"model": "example_crm.lead"}).context["cl"].result_count
    by_field = admin.get(EVENTS, {"field": "status"}).context["cl"].result_count

    assert (by_model, by_field) == (1, 2)


def test_event_of_a_deleted_object(admin: Client, lead: Lead) -> None:
    """The closing event shows the key that the object had, which has no column."""
    key = lead.pk
    lead.delete()
    event = Event.objects.latest("id")
    text = admin.get(reverse("admin:stockflow_event_change", args=[event.pk])).content.decode()

    assert f"&quot;key&quot;: &quot;{key}&quot;" in text


def test_event_of_another_application(admin: Client, db: None) -> None:
    """An event of somebody else's application is shown, without what it is made of."""
    event = Event.objects.create(
        application="billing", originator="1", version=1, topic="t", payload=b"\x00"
    )
    answer = admin.get(reverse("admin:stockflow_event_change", args=[event.pk]))

    assert answer.status_code == 200


def test_events_cannot_be_written(admin: Client, feature: Feature) -> None:
    """Nobody adds, changes or deletes an event, whatever their permissions."""
    event = Event.objects.latest("id")
    change = reverse("admin:stockflow_event_change", args=[event.pk])

    assert admin.post(change, {"reason": "another"}).status_code == 403
    assert admin.get(reverse("admin:stockflow_event_add")).status_code == 403
    assert admin.post(reverse("admin:stockflow_event_delete", args=[event.pk])).status_code == 403


def test_events_need_a_permission(clerk: Client, feature: Feature) -> None:
    """To view features is not to view the log."""
    assert clerk.get(EVENTS).status_code == 403

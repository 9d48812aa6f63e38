"""``manage.py stockflow reconcile``: what differs is shown, and recorded as an adjustment."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from stockflow.fence import comparing
from stockflow.fence.subjects import fenced_tables
from stockflow.models import Event, ScheduledTransition
from stockflow.projections import Stock, registry, runner
from stockflow.testing import Clock, sequence
from tests.crm.models import BigLead, HotLead, Lead, Mail, Order, Rep, Ticket, Veiled
from tests.fence.down import fence_down
from tests.stockflow.reading import assert_whole, facets_of, last_event, micros, timers_of, trail

pytestmark = pytest.mark.django_db


def reconcile(*args: str) -> str:
    """Run the command and return what it says."""
    out = io.StringIO()
    call_command("stockflow", "reconcile", *args, stdout=out, no_color=True)
    return out.getvalue()


def drift(model: type[models.Model], **values: Any) -> None:
    """Change rows behind the log."""
    with fence_down():
        models.QuerySet(model).update(**values)


def lose_row(instance: Any) -> None:
    """Delete a row behind the log."""
    with fence_down():
        models.QuerySet(type(instance)).filter(pk=instance.pk)._raw_delete("default")


def clean() -> bool:
    """Whether every row is as its last event says."""
    return not comparing.first("default", 1)


def test_nothing_to_do() -> None:
    """A log that the fence kept is whole."""
    Lead.objects.create()
    BigLead.objects.create()

    assert reconcile() == "Every row is as its last event says.\n"


def test_a_dry_run_shows_and_changes_nothing() -> None:
    """Object, field, what the row says and what the log says."""
    lead = Lead.objects.create()
    drift(Lead, temperature="won")
    said = reconcile()

    assert said.splitlines()[0].split() == [
        *("object", "field"),
        *("the", "row", "says"),
        *("the", "log", "says"),
    ]
    assert f"crm.Lead {lead.pk}" in said
    assert "'won' (channel='web')" in said
    assert "'hot' (channel='web')" in said
    assert "Found 1 difference. Nothing is changed: --apply records what the rows say." in said
    assert trail(lead) == ["entered >hot"]


def test_a_state_is_recorded(time: Clock, rep: Rep) -> None:
    """As an adjustment from what the log said to what the row says; the row follows."""
    lead = Lead.objects.create(owner=rep)
    drift(Lead, temperature="warm")
    time.advance(timedelta(days=2))
    said = reconcile("--apply")
    lead = Lead.objects.get()

    assert "Recorded 1 difference." in said
    assert trail(lead) == ["entered >hot", "reconciled hot>warm"]
    assert last_event(lead).actor == "stockflow.reconcile"
    assert facets_of(last_event(lead))[1] == {"channel": "web", "owner__team": "north"}
    assert lead.temperature_since == time.at
    assert timers_of(lead)["temperature"].due_at == micros(time.at + timedelta(days=30))
    assert_whole(lead)
    assert clean()


def test_a_row_that_the_base_manager_hides() -> None:
    """It is found and recorded as any other."""
    veiled = Veiled.objects.create(hidden=True)
    drift(Veiled, state="off")
    said = reconcile("--apply")

    assert "Recorded 1 difference." in said
    assert trail(veiled) == ["entered >on", "reconciled on>off"]
    assert models.QuerySet(Veiled).get().stock_version == 2
    assert clean()


def test_a_base_manager_that_refuses_updates() -> None:
    """The adjustment's own update does not ask it."""
    mail = Mail.objects.create()
    drift(Mail, state="read")
    reconcile("--apply")

    assert trail(mail) == ["entered >open", "reconciled open>read"]
    assert_whole(Mail.objects.get())
    assert clean()


def test_a_state_without_decay_ends_the_timer() -> None:
    """What is closed waits for nothing."""
    lead = Lead.objects.create()
    drift(Lead, temperature="won")
    reconcile("--apply")

    assert timers_of(lead) == {}
    assert_whole(Lead.objects.get())


def test_a_facet_is_recorded_without_a_new_spell() -> None:
    """The state was entered when it was."""
    lead = Lead.objects.create()
    drift(Lead, channel="phone")
    reconcile("--apply")
    row = Lead.objects.get()

    assert trail(lead) == ["entered >hot", "reconciled hot>hot"]
    assert row.temperature_since == lead.temperature_since
    assert [entry.is_open for entry in row.stock_history()] == [True, True]
    assert_whole(row)


@pytest.mark.parametrize("version", [0, 7])
def test_a_version_follows_its_log(version: int) -> None:
    """No event is wanted where state and facets agree."""
    lead = Lead.objects.create()
    drift(Lead, stock_version=version)
    said = reconcile("--apply")

    assert f"version {version}" in said
    assert trail(lead) == ["entered >hot"]
    assert_whole(Lead.objects.get())


def test_a_row_without_events_is_opened() -> None:
    """A row that was restored without its log begins one."""
    lead = Lead.objects.create()
    with fence_down():
        models.QuerySet(Lead).update(
            stock_lifecycle="00000000-0000-0000-0000-000000000001", stock_version=3
        )
    said = reconcile("--apply")
    row = Lead.objects.get()

    assert "nothing" in said
    assert trail(row) == ["reconciled >hot"]
    assert trail(lead) == ["entered >hot", "reconciled hot>"]
    assert_whole(row)
    assert clean()


@pytest.mark.parametrize("model", [Lead, HotLead, BigLead, Order], ids=lambda model: model.__name__)
def test_a_stream_without_row_is_closed(model: Any) -> None:
    """In each of its fields; its timers end."""
    instance = model.objects.create()
    if model is BigLead:
        lose_row(instance)
        instance = Lead.objects.get()
    lose_row(instance)
    said = reconcile("--apply")

    assert "nothing: it is gone" in said
    assert not ScheduledTransition.objects.exists()
    assert {event.kind for event in Event.objects.filter(target=None)} == {"reconciled"}
    assert clean()


def test_children_are_mended_whole() -> None:
    """State in two tables, version in one; the model stays the one that the log names."""
    big, hot = BigLead.objects.create(), HotLead.objects.create()
    drift(Lead, temperature="cold", channel="phone")
    drift(BigLead, stage="offered", budget=9)
    reconcile("--apply")

    assert trail(big) == [
        "entered >hot",
        "entered >draft",
        "reconciled hot>cold",
        "reconciled draft>offered",
    ]
    assert last_event(hot).model == "crm.hotlead"
    assert_whole(BigLead.objects.get())
    assert_whole(HotLead.objects.get(pk=hot.pk))
    assert clean()


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    ("drifted", "days"), [({"channel": "phone"}, 0), ({"temperature": "warm"}, 2)]
)
def test_members_are_there_since_what_rows_say(
    monkeypatch: pytest.MonkeyPatch, time: Clock, folded: bool, drifted: Any, days: int
) -> None:
    """A state that differed was entered then, a facet that did lets the object stay."""
    monkeypatch.setattr(registry, "declared", registry.Registry())
    stock = Stock("leads", Lead.temperature, states=["hot", "warm"])
    entered = time.at
    Lead.objects.create()
    time.advance(timedelta(days=2))
    drift(Lead, **drifted)
    reconcile("--apply")
    if folded:
        sequence()
        list(runner.project())
    (member,) = stock.members()

    assert member.since == Lead.objects.get().temperature_since == entered + timedelta(days=days)


def test_one_model_only() -> None:
    """Named, the others are left alone."""
    Lead.objects.create()
    Ticket.objects.create()
    drift(Lead, temperature="won")
    drift(Ticket, state="open")
    said = reconcile("crm.Ticket", "--apply")

    assert "Recorded 1 difference." in said
    assert "crm.Lead" in reconcile()


@pytest.mark.parametrize("name", ["crm.Rep", "nonsense", "crm.Nobody"])
def test_a_model_without_history(name: str) -> None:
    """The error names those that have one."""
    with pytest.raises(CommandError, match=r"has no stock history in 'default'. .*crm\.BigLead"):
        reconcile(name)


def test_more_than_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is a transaction of its own, and none is skipped."""
    monkeypatch.setattr(comparing, "CHUNK", 2)
    for _ in range(5):
        Lead.objects.create()
    gone = [Ticket.objects.create() for _ in range(5)]
    drift(Lead, temperature="lost")
    for ticket in gone:
        lose_row(ticket)

    assert "Found 10 differences" in reconcile()
    assert "Recorded 10 differences" in reconcile("--apply")
    assert clean()


@pytest.mark.parametrize("mended", [True, False])
def test_one_that_another_mended_is_left_alone(
    mended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the lock the row may be put right, or go."""
    Lead.objects.create()
    drift(Lead, temperature="won")
    find: Callable[..., Any] = comparing.chunks_of_keys

    def meanwhile(using: str, fenced: Any) -> Any:
        for keys in find(using, fenced):
            if mended:
                drift(Lead, temperature="hot")
            else:
                lose_row(Lead.objects.get())
            yield keys

    monkeypatch.setattr(comparing, "chunks_of_keys", meanwhile)
    reconcile("--apply")

    assert "reconciled" not in {e.kind for e in Event.objects.exclude(target=None)}


def test_streams_are_compared_by_look_ups() -> None:
    """In a log without statistics too, each event finds the last one of its stream by its key."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite does so in any case")
    Lead.objects.bulk_create([Lead() for _ in range(300)])
    fenced = next(t for t in fenced_tables("default") if t.model is Lead)
    with CaptureQueriesContext(connection) as asked:
        assert not [*comparing.chunks_of_streams("default", fenced)]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked.captured_queries[-1]['sql']}")
        plan = " ".join(step for (step,) in cursor.fetchall())

    assert "application)::text) AND ((originator)::text = (e.originator)::text))" in plan


def test_the_comparison_uses_the_index_of_versions() -> None:
    """Each row costs a look-up, not a scan of the log."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL scans what is small")
    fenced = next(t for t in fenced_tables("default") if t.model is Lead)
    from stockflow.fence.sql import Dialect, disagreement

    where = disagreement(Dialect("sqlite"), fenced, "c", "c")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN SELECT 1 FROM crm_lead c WHERE {where}")
        plan = [row[3] for row in cursor.fetchall()]

    assert not [step for step in plan if step.startswith("SCAN") and "event" in step]

"""What the log says of people can be destroyed; numbers and the chain stay."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

import stockflow
from stockflow import testing, witnesses
from stockflow.domain.errors import InvalidInstant, LateEntry, UnknownLifecycle
from stockflow.domain.events import Erased
from stockflow.domain.instants import to_micros
from stockflow.erasure import erasable, erase
from stockflow.eventstore.applications import StockLog
from stockflow.models import Event, Position
from stockflow.projections import runner
from stockflow.projections.models import Spell as SpellRow
from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock, run_due
from stockflow.verification import verify
from tests.crm.models import BigLead, Chain, HotLead, Lead, Order, Ticket, Trial
from tests.eventstore.tampering import tampering, unguarded
from tests.fence.down import fence_down
from tests.projections.locking import before, elsewhere
from tests.stockflow.conftest import START
from tests.stockflow.reading import (
    assert_whole,
    events_of,
    last_event,
    lifecycle_of,
    timers_of,
    trail,
)

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SAID = "actor", "reason", "correlation", "payload"


@pytest.fixture(name="time", autouse=True)
def _time() -> Any:
    with testing.clock(START) as time:
        yield time


@pytest.fixture(name="ida")
def _ida(time: Clock) -> Lead:
    """A lead with three events, of which two say something of Ida."""
    with stockflow.context(
        actor="Ida", reason="asked by Ida", correlation="i-1", data={"n": "Ida"}
    ):
        lead: Lead = Lead.objects.create(channel="web")
    time.advance(8 * DAY)
    run_due()
    lead.refresh_from_db()
    with stockflow.context(actor="Ida"):
        lead.rekindle()
        lead.save()
    return lead


def wrong() -> list[str]:
    """Return what ``verify`` finds."""
    return [str(one) for step in verify() for one in step.wrong]


def is_postgresql() -> bool:
    """Whether the database is."""
    return connection.vendor == "postgresql"


def bytes_of_the_log() -> bytes:
    """Return all that is stored of events and positions."""
    rows = [*Event.objects.values_list(), *Position.objects.values_list()]
    return b"|".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
        for row in rows
        for value in row
    )


@pytest.mark.parametrize("sequenced", [True, False])
def test_what_was_said_is_gone_and_the_chain_holds(ida: Lead, sequenced: bool) -> None:
    """Whether its events have positions or get them later; what happened and when is as it was."""
    happened = ["kind", "source", "target", "target_facets", "occurred_at", "recorded_at"]
    before = list(Event.objects.order_by("version").values_list(*happened))
    if sequenced:
        testing.sequence()
    assert b"Ida" in bytes_of_the_log()

    with stockflow.context(actor="office", reason="ticket 42"):
        assert erase(ida) == 2
    testing.sequence()

    assert b"Ida" not in bytes_of_the_log()
    assert list(Event.objects.order_by("version").values_list(*happened))[:3] == before
    assert trail(ida)[-1] == "erased hot>hot"
    assert (last_event(ida).actor, last_event(ida).reason) == ("office", "ticket 42")
    assert wrong() == []
    assert Position.objects.filter(salt=None).count() == (2 if sequenced else 0)


def test_a_witness_still_holds(ida: Lead, tmp_path: Path) -> None:
    """The hashes of before are those of after."""
    file = tmp_path / "witness.json"
    file.write_text(witnesses.witness("default"))
    hashes = dict(Position.objects.values_list("position", "hash"))
    erase(ida)

    call_command("stockflow", "verify", against=file, verbosity=0)
    assert {p: bytes(h) for p, h in hashes.items()} == {
        p: bytes(h) for p, h in Position.objects.values_list("position", "hash") if p in hashes
    }


def test_a_decay_keeps_its_cause(ida: Lead) -> None:
    """Who fired it and which timer it was says nothing of people."""
    erase(ida)
    decay = StockLog().history(lifecycle_of(ida)).events[1]

    assert (decay.actor, decay.due_at) == ("stockflow.schedule", START + 7 * DAY)


def test_what_data_say_of_the_schedule_stays(time: Clock) -> None:
    """A decay that was postponed stays so, though the data beside it go."""
    with stockflow.context(data={"who": "Ida"}):
        lead = Lead.objects.create()
        lead.postpone_decay("cool", to=START + 20 * DAY)
        lead.save()
    testing.sequence()
    said = last_event(lead).payload
    erase(lead)
    time.advance(10 * DAY)
    call_command("stockflow", "reschedule", "crm.Lead", apply=True, verbosity=0)

    kept = events_of(lead.stock_lifecycle)[1]
    assert b"Ida" in bytes(said or b"")
    assert json.loads(bytes(kept.payload or b""))["data"].keys() == {"stockflow.schedule"}
    assert timers_of(lead)["temperature"].due_at == to_micros(START + 20 * DAY)
    assert wrong() == []


def test_a_deleted_object_loses_its_key(ida: Lead) -> None:
    """Nothing leads back to it; a second time there is nothing left to erase."""
    key, lifecycle = ida.pk, lifecycle_of(ida)
    with stockflow.context(reason="Ida left"):
        ida.delete()
    testing.sequence()

    assert erasable(lifecycle, "default") == 3
    assert erase(lifecycle) == 3
    assert [e.kind for e in events_of(lifecycle)][-2:] == ["left", "erased"]
    assert f'"key":"{key}"'.encode() not in bytes_of_the_log()
    assert (erase(lifecycle), erase(str(lifecycle)), len(events_of(lifecycle))) == (0, 0, 5)
    testing.sequence()
    assert wrong() == []


def test_the_object_goes_on(ida: Lead, time: Clock) -> None:
    """Row, log and timer agree, its decay comes when it would have, and what follows is erased too."""
    due = timers_of(ida)["temperature"].due_at
    erase(ida)
    ida.refresh_from_db()
    assert_whole(ida)
    assert timers_of(ida)["temperature"].due_at == due
    time.advance(8 * DAY)
    list(fire_due())
    ida.refresh_from_db()
    with stockflow.context(actor="Ida"):
        ida.lose()
        ida.save()
    testing.sequence()

    assert erase(ida) == 1
    ida.refresh_from_db()
    assert_whole(ida)
    assert trail(ida)[3:] == [
        "erased hot>hot",
        "moved hot>warm",
        "moved warm>lost",
        "erased lost>lost",
    ]
    testing.sequence()
    assert wrong() == []


def test_what_is_due_is_left_to_come(ida: Lead, time: Clock) -> None:
    """It comes at its own instant, as it would have."""
    time.advance(40 * DAY)
    erase(ida)
    run_due()

    assert trail(ida)[-3:] == ["erased hot>hot", "moved hot>warm", "moved warm>cold"]
    ida.refresh_from_db()
    assert_whole(ida)


def test_a_decay_that_waits_comes_when_it_would_have(time: Clock) -> None:
    """Held back by a condition or parked, it is dated as that of an object that was not erased."""
    with stockflow.context(actor="Ida"):
        held = [Chain.objects.create(ready=False) for _ in range(2)]
        failing = [Chain.objects.create(is_broken=True) for _ in range(2)]
    time.advance(3 * DAY)
    erase(held[0], failing[0])
    for chain in (*held, *failing):
        chain.refresh_from_db()
        chain.ready, chain.is_broken = True, False
        chain.save()
    run_due()

    assert {last_event(chain).occurred_at for chain in (*held, *failing)} == {
        to_micros(START + DAY)
    }


def test_a_late_entry_is_taken(ida: Lead, time: Clock) -> None:
    """What was before the erasure may become known after it."""
    time.advance(5 * DAY)
    erase(ida)
    ida.refresh_from_db()
    with stockflow.context(at=time.at - DAY):
        ida.touch()
        ida.save()

    assert_whole(ida)


def test_a_late_entry_at_a_decay_is_refused_still(time: Clock) -> None:
    """The decay is what happened last."""
    with stockflow.context(actor="Ida"):
        lead: Lead = Lead.objects.create()
    time.advance(8 * DAY)
    run_due()
    erase(lead)
    lead.refresh_from_db()

    with (
        stockflow.context(at=START + 7 * DAY),
        pytest.raises(LateEntry, match="the decay 'cool' was recorded at"),
    ):
        lead.lose()


def test_each_field_of_an_object(time: Clock) -> None:
    """One event tells of all of them, wherever the last one left the object."""
    with stockflow.context(actor="Ida"):
        order = Order.objects.create(grace=DAY, deadline=time.at + DAY)
    erase(order)

    order.refresh_from_db()
    assert_whole(order)
    assert {event.actor for event in events_of(order.stock_lifecycle)} == {""}


def test_a_child_that_is_gone_alone(time: Clock) -> None:
    """Its parent's row stays, and follows the log."""
    with stockflow.context(actor="Ida"):
        big = BigLead.objects.create()
        big.delete(keep_parents=True)
    lead = Lead.objects.get()

    assert erase(lead) == 3
    lead.refresh_from_db()
    lead.lose()
    lead.save()
    assert_whole(lead)


def test_a_clock_that_lags(ida: Lead, time: Clock) -> None:
    """An object's events stay in the order of their instants."""
    with testing.clock(time.at - DAY):
        erase(ida)
    ida.refresh_from_db()

    assert_whole(ida)


def test_nothing_said_is_nothing_erased(time: Clock) -> None:
    """No event is written for an object of which nothing is said."""
    ticket = Ticket.objects.create()

    assert erase(ticket) == 0
    assert trail(ticket) == ["entered >new"]


@pytest.mark.parametrize("actor", ["stockflow.ida@example.org", "stockflow.reconcile"])
def test_an_actor_that_is_called_as_ours(actor: str) -> None:
    """Only what stockflow itself says names nobody."""
    with stockflow.context(actor=actor):
        ticket = Ticket.objects.create()

    assert erase(ticket) == 1
    assert actor.encode() not in bytes_of_the_log()


def test_an_adjustment_names_nobody() -> None:
    """Who reconciled, and why, is the same for all."""
    ticket = Ticket.objects.create()
    with fence_down():
        Ticket._base_manager.update(state="open")
    call_command("stockflow", "reconcile", apply=True, verbosity=0)

    assert last_event(ticket).actor == "stockflow.reconcile"
    assert erase(ticket) == 0


@pytest.mark.django_db(databases=["default", "other"])
def test_several_in_two_databases(ida: Lead) -> None:
    """All or none of both."""
    with stockflow.context(actor="Ida"):
        other = Ticket()
        other.save(using="other")
    with pytest.raises(UnknownLifecycle, match="in the database 'default': give its own by using="):
        erase(other, ida, lifecycle_of(other))
    assert erasable(lifecycle_of(other), "other") == 1

    assert erase(other, ida) == 3
    assert erasable(lifecycle_of(other), "other") == 0


def test_several_at_once(ida: Lead) -> None:
    """All or none: one unknown lifecycle undoes the rest."""
    with stockflow.context(actor="Ida"):
        ticket = Ticket.objects.create()
    unknown = uuid4()
    with pytest.raises(UnknownLifecycle, match=f"Nothing is recorded of lifecycle {unknown}"):
        erase(ida, ticket, unknown)
    assert erasable(lifecycle_of(ida), "default") == 2

    assert erase(ida, lifecycle_of(ida), ticket) == 3


def test_bad_arguments(ida: Lead) -> None:
    """Each says what is wrong and what to do."""
    with pytest.raises(UnknownLifecycle, match="'ida' is no lifecycle: a UUID such as"):
        erase("ida")
    with pytest.raises(UnknownLifecycle, match="has no history yet"):
        erase(Lead())
    for wrong_one in (7, Lead, Lead.objects.all()):
        with pytest.raises(TypeError, match="takes objects that have a stock history"):
            erase(wrong_one)  # type: ignore[arg-type]
    with (
        stockflow.context(at=START),
        pytest.raises(InvalidInstant, match=r"cannot be dated\. Call it in a context without at="),
    ):
        erase(ida)
    assert erasable(lifecycle_of(ida), "default") == 2


def test_rolled_back_nothing_is_erased(ida: Lead) -> None:
    """It is of the caller's transaction."""
    testing.sequence()
    before = bytes_of_the_log()
    with transaction.atomic():
        erase(ida)
        transaction.set_rollback(True)

    assert bytes_of_the_log() == before


def test_a_model_that_is_gone_from_the_code(ida: Lead) -> None:
    """Its objects' histories are erased all the same."""
    lifecycle = uuid4()
    told = {
        "originator": str(lifecycle),
        "version": 1,
        "topic": "stockflow:entered",
        "model": "gone.thing",
    }
    Event.objects.create(
        **told, field="state", kind="entered", target="new", occurred_at=7, actor="Ida"
    )

    assert erase(lifecycle) == 1
    assert [(e.kind, e.source, e.target) for e in events_of(lifecycle)][1:] == [
        ("erased", "new", "new")
    ]


def test_no_number_changes(ida: Lead, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stays go on, flows are counted once, and a rebuild finds what was folded."""
    from stockflow.projections import Flow, Stock, registry

    monkeypatch.setattr(registry, "declared", registry.Registry())  # others look at all there are
    stock = Stock("erasing", Lead.temperature, states=["hot", "warm"])
    flow = Flow("erasing-arrivals", sources=[None], sinks=[stock])
    gone = Lead.objects.create()
    with stockflow.context(actor="Ida"):
        gone.delete()

    def numbers() -> list[Any]:
        asked: Any = {"start": START, "end": time.at + DAY, "every": "day"}
        return [
            *(
                getattr(stock, name)(**asked)
                for name in ("closing", "inflow", "outflow", "exposure")
            ),
            flow.count(start=START, end=time.at + DAY),
            stock.stays(merged=False),
            stock.members(),
            stock.reclassified(**asked),
        ]

    expected = numbers()
    testing.sequence()
    list(runner.project())
    erase(ida, lifecycle_of(gone))
    unfolded = numbers()
    testing.sequence()
    list(runner.project())
    folded = numbers()
    list(runner.rebuild())

    assert expected == unfolded == folded == numbers()
    assert SpellRow.objects.filter(left_at=None).count() == 1


def test_a_model_that_was_renamed(time: Clock) -> None:
    """Its log has the name of then; the row follows the log all the same."""
    with stockflow.context(actor="Ida"):
        tickets = [Ticket.objects.create() for _ in range(2)]
    with unguarded() as cursor:
        names = ["crm.then", "crm.lead"]  # of the second, another model has the name by now
        for name, ticket in zip(names, tickets, strict=True):
            sql = "UPDATE stockflow_event SET model = %s WHERE originator = %s"
            cursor.execute(sql, [name, str(ticket.stock_lifecycle)])

    assert erase(*tickets) == 2
    for ticket in tickets:
        ticket.refresh_from_db()
        ticket.open()
        ticket.save()
        assert_whole(ticket)


@pytest.mark.parametrize("text", ["\x00", "\\u0000", '"', "a.b", "é"])
def test_whatever_was_said(text: str) -> None:
    """Beside what stays, too: of such data a part is kept."""
    with stockflow.context(data={"who": text, text: "Ida"}):
        lead = Lead.objects.create()
        lead.postpone_decay("cool", to=START + 20 * DAY)
        lead.save()
    testing.sequence()

    assert erase(lead) == 2
    assert b"Ida" not in bytes_of_the_log()
    testing.sequence()
    assert wrong() == []


def test_a_payload_that_cannot_be_read(ida: Lead) -> None:
    """It holds up no sequencer, and can be erased."""
    last = last_event(ida)
    told = {"originator": last.originator, "model": last.model, "field": last.field}
    for version, payload in enumerate((b"[" * 100_000, b"{", b"\xff"), start=last.version + 1):
        Event.objects.create(
            **told, version=version, kind="moved", topic="stockflow:moved", payload=payload
        )
    testing.sequence()
    assert wrong()[:-1] == []  # but for the row, which has another version

    assert erasable(lifecycle_of(ida), "default") == 5


def test_domain_event(ida: Lead) -> None:
    """Other readers of the log are told by an event of its own class."""
    erase(ida)
    history = StockLog().history(lifecycle_of(ida))

    assert isinstance(history.events[-1], Erased)
    assert not history.events[-1].restarts_spell
    assert [s and s.state for s in history.spells()][-2:] == ["hot", "hot"]
    assert ida.stock_history()[-1].kind == "erased"


def refused(sql: str, values: list[Any], table: str) -> None:
    """Let the database refuse a statement."""
    with (
        pytest.raises(IntegrityError, match=rf"^stockflow: UPDATE of {table} is refused"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, values)


def let_through(sql: str, values: list[Any]) -> None:
    """Let the database do what an erasure does, and undo it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        transaction.set_rollback(True)


EMPTIED = "UPDATE stockflow_event SET actor = '', reason = '', correlation = '', payload = NULL"
FORGED_EVENTS = {
    "another actor": "UPDATE stockflow_event SET actor = 'x', reason = '', correlation = ''",
    "another reason": "UPDATE stockflow_event SET actor = '', reason = 'x', correlation = ''",
    "another correlation": "UPDATE stockflow_event SET actor = '', reason = '', correlation = 'x'",
    **{
        f"another {column}": f"{EMPTIED}, {column} = {value}"
        for column, value in {
            "id": "id + 99",
            "application": "'x'",
            "originator": "'x'",
            "version": "version + 99",
            "topic": "'x'",
            "model": "'x'",
            "field": "'x'",
            "kind": "'entered'",
            "transition": "'x'",
            "source": "NULL",
            "target": "NULL",
            "source_facets": "NULL",
            "target_facets": "NULL",
            "occurred_at": "occurred_at + 1",
            "recorded_at": "recorded_at + 1",
        }.items()
    },
}


@pytest.mark.parametrize("forged", FORGED_EVENTS.values(), ids=FORGED_EVENTS)
def test_an_erased_event_is_not_altered(ida: Lead, forged: str) -> None:
    """The exception that the triggers make is for what an erasure does, and for nothing else."""
    erase(ida)
    event = events_of(ida.stock_lifecycle)[1]

    let_through(f"{EMPTIED} WHERE id = %s", [event.pk])
    refused(f"{forged} WHERE id = %s", [event.pk], "stockflow_event")


FORGED_PAYLOADS = {
    "no text": b"\xff",
    "no JSON": b"{",
    "a NUL": b'"\\u0000"',
    "another value": b'{"cause":{"version":2}}',
    "another type": b'{"cause":{"version":true}}',
    "a value elsewhere": b'{"cause":{"due_at":1}}',
    "a name more": b'{"x":{}}',
    "a list more": b'{"cause":{"x":[]}}',
}


@pytest.mark.parametrize("payload", FORGED_PAYLOADS.values(), ids=FORGED_PAYLOADS)
def test_a_payload_only_loses(ida: Lead, payload: bytes) -> None:
    """Nothing is put in the place of what was said."""
    erase(ida)
    event = events_of(ida.stock_lifecycle)[1]  # a decay, with its cause
    cause = json.loads(bytes(event.payload or b""))["cause"]
    sql = EMPTIED.replace("NULL", "%s") + " WHERE id = %s"

    assert cause["version"] == 1
    let_through(sql, [json.dumps({"cause": {"version": 1}}).encode(), event.pk])
    refused(sql, [payload, event.pk], "stockflow_event")


UNSALTED = "UPDATE stockflow_position SET salt = NULL, digest = hash"


FORGED_POSITIONS = {
    "no digest": "UPDATE stockflow_position SET salt = NULL",
    "a short digest": "UPDATE stockflow_position SET salt = NULL, digest = salt",
    "the salt stays": "UPDATE stockflow_position SET digest = hash",
    "another hash": f"{UNSALTED}, hash = salt",
    "another position": f"{UNSALTED}, position = 99",
    "another event": f"{UNSALTED}, event = 99",
    "another application": f"{UNSALTED}, application = 'x'",
    "another instant": f"{UNSALTED}, sequenced_at = 1",
}


def salted_again(event: Event, what: str = "salt = digest, digest = NULL") -> None:
    """Make the position of an erased event what an erasure finds."""
    with unguarded() as cursor:
        cursor.execute(f"UPDATE stockflow_position SET {what} WHERE event = %s", [event.pk])


@pytest.mark.parametrize("forged", FORGED_POSITIONS.values(), ids=FORGED_POSITIONS)
def test_a_position_is_not_altered(ida: Lead, forged: str) -> None:
    """A salt goes only with its digest in its place."""
    testing.sequence()
    erase(ida)
    event = events_of(ida.stock_lifecycle)[0]
    short = "salt = CAST('short' AS {})".format("bytea" if is_postgresql() else "BLOB")
    salted_again(event, f"{short}, digest = NULL")

    let_through(f"{UNSALTED} WHERE event = %s", [event.pk])
    refused(f"{forged} WHERE event = %s", [event.pk], "stockflow_position")


@pytest.mark.parametrize("what", ["salt = NULL", "salt = NULL, digest = NULL", "salt = hash"])
def test_a_digest_is_given_once(ida: Lead, what: str) -> None:
    """Neither anew, nor where there is no salt, nor where there is one already."""
    testing.sequence()
    erase(ida)
    event = events_of(ida.stock_lifecycle)[0]
    salted_again(event, what)

    refused(f"{UNSALTED} WHERE event = %s", [event.pk], "stockflow_position")


SPOILED = {
    "says what was erased": ("kind = 'moved'", "WHERE kind = 'erased' AND id <> %s"),
    "is another object's": ("originator = 'x'", "WHERE kind = 'erased' AND id <> %s"),
    "is another application's": ("application = 'x'", "WHERE kind = 'erased' AND id <> %s"),
    "is of before": ("version = 99", "WHERE id = %s"),
    "is of an erasure": ("kind = 'erased'", "WHERE id = %s"),
    "is of other events": ("application = 'x'", "WHERE id = %s"),
    "is all another application's": ("application = 'x'", "WHERE id <> %s OR true"),
}
"""What keeps the event before it from being emptied: of which event what is otherwise."""


@pytest.mark.parametrize(("what", "whose"), SPOILED.values(), ids=SPOILED)
def test_only_what_an_event_tells_of_is_emptied(ida: Lead, what: str, whose: str) -> None:
    """Neither without an erasure of the object, nor what came after it, nor what it says itself."""
    testing.sequence()
    erase(ida)
    event = events_of(ida.stock_lifecycle)[0]
    salted_again(event)
    let_through(f"{EMPTIED} WHERE id = %s", [event.pk])
    let_through(f"{UNSALTED} WHERE event = %s", [event.pk])
    with unguarded() as cursor:
        cursor.execute(f"UPDATE stockflow_event SET {what} {whose}", [event.pk])

    refused(f"{EMPTIED} WHERE id = %s", [event.pk], "stockflow_event")
    refused(f"{UNSALTED} WHERE event = %s", [event.pk], "stockflow_position")


@pytest.mark.parametrize("word", ["actor", "reason", "correlation"])
def test_a_salt_stays_while_there_is_something_said(ida: Lead, word: str) -> None:
    """Its digest would cover what can be read, and no more be found altered."""
    testing.sequence()
    erase(ida)
    event = events_of(ida.stock_lifecycle)[0]
    salted_again(event)
    with unguarded() as cursor:
        cursor.execute(f"UPDATE stockflow_event SET {word} = 'x' WHERE id = %s", [event.pk])

    refused(f"{UNSALTED} WHERE event = %s", [event.pk], "stockflow_position")


def tampered(act: Callable[[Any, Event], Any], event: Event) -> list[str]:
    """Return what ``verify`` finds after *act* without the triggers."""
    with tampering() as cursor:
        act(cursor, event)
        return wrong()


def test_what_was_altered_of_an_erased_event_is_found(ida: Lead) -> None:
    """Its words again, its rest, its digest, its salt, or the event that tells of the erasure."""
    testing.sequence()
    erase(ida)
    testing.sequence()
    first, decay, *_, told = events_of(ida.stock_lifecycle)

    def run(sql: str, *values: Any) -> Callable[[Any, Event], Any]:
        return lambda cursor, event: cursor.execute(sql, [*values, event.pk])

    altered = "altered: the hash is not that of its content"
    event, position = (
        "UPDATE stockflow_event SET {} WHERE id = %s",
        "UPDATE stockflow_position SET {} WHERE event = %s",
    )
    cases = [
        (first, event.format("actor = 'Ida'"), [], "what was erased of its event"),
        (first, event.format("payload = %s"), [b"{}"], altered),
        (first, event.format("target = 'cold'"), [], altered),
        (first, position.format("digest = %s"), [b"\x00" * 32], altered),
        (first, position.format("digest = NULL"), [], altered),
        (first, position.format("salt = %s"), [b"\x00" * 16], altered),
        (decay, position.format("salt = %s"), [b"\x00" * 16], altered),
        (decay, event.format("payload = NULL"), [], altered),
        (
            told,
            "DELETE FROM stockflow_event WHERE id = %s",
            [],
            "no later event of its object says so",
        ),
        (told, event.format("actor = 'x'"), [], altered),
    ]
    for which, sql, values, text in cases:
        found = tampered(run(sql, *values), which)
        assert text in found[0], sql


def emptied(event: Event) -> list[str]:
    """Return what ``verify`` finds where an event was emptied, with a digest that is right."""
    from stockflow.eventstore.chain import columns, digest_of

    with tampering() as cursor:
        cursor.execute(
            f"SELECT p.salt, {columns(connection)} FROM stockflow_event e "
            "JOIN stockflow_position p ON p.event = e.id WHERE e.id = %s",
            [event.pk],
        )
        salt, *content = cursor.fetchone()
        cursor.execute(f"{EMPTIED} WHERE id = %s", [event.pk])
        cursor.execute(
            "UPDATE stockflow_position SET salt = NULL, digest = %s WHERE event = %s",
            [digest_of(salt, content), event.pk],
        )
        return wrong()


def test_emptied_by_somebody_who_has_the_database(ida: Lead) -> None:
    """With a digest that is right, but no event that says so, of this object and later."""
    with stockflow.context(actor="Ida"):
        erase(Ticket.objects.create())
    testing.sequence()
    event = events_of(ida.stock_lifecycle)[0]

    assert emptied(event)[0] == (
        f"Position 1: what its event {event.pk} said is gone, and no later event of its object says so"
    )


def test_who_erased_is_not_erased(ida: Lead) -> None:
    """Not by a later erasure either."""
    for _ in range(2):
        with stockflow.context(actor="office"):
            erase(ida)
        ida.refresh_from_db()
        with stockflow.context(actor="Ida"):
            ida.ping()
            ida.save()
    testing.sequence()
    first = next(e for e in events_of(ida.stock_lifecycle) if e.kind == "erased")

    for event in (first, last_event(ida)):
        assert f"what its event {event.pk} said is gone" in emptied(event)[0]


def test_other_applications_have_no_erasures(ida: Lead) -> None:
    """Whatever kind they give an event, of the same originator too."""
    told = {"application": "other", "originator": str(ida.stock_lifecycle), "topic": "t"}
    event = Event.objects.create(**told, version=1, kind="entered", actor="Ida")
    Event.objects.create(**told, version=2, kind="erased")
    erase(ida)
    testing.sequence()

    assert f"what its event {event.pk} said is gone" in emptied(event)[0]


def test_nothing_can_be_guessed_from_a_digest(ida: Lead) -> None:
    """Two events that said the same have digests that are not."""
    with stockflow.context(actor="Ida"):
        tickets = [Ticket.objects.create() for _ in range(2)]
    testing.sequence()
    erase(*tickets)
    digests = Position.objects.exclude(digest=None).values_list("digest", flat=True)

    assert len({bytes(digest or b"") for digest in digests}) == 2


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_the_sequencer(ida: Lead) -> None:
    """What is being linked is not emptied meanwhile: its link would not hold."""
    lifecycle = lifecycle_of(ida)
    with before(
        "INSERT INTO stockflow_position", lambda: elsewhere(lambda: erase(lifecycle))
    ) as met:
        testing.sequence()

    assert met == [None]
    assert wrong() == []
    assert erase(lifecycle) == 2
    testing.sequence()
    assert wrong() == []


@pytest.mark.django_db(transaction=True)
def test_two_at_once_erase_once(ida: Lead) -> None:
    """The second waits for the first, and finds nothing left."""
    lifecycle = lifecycle_of(ida)
    ida.delete()
    with before(
        "UPDATE stockflow_event SET actor", lambda: elsewhere(lambda: erase(lifecycle))
    ) as met:
        assert erase(lifecycle) == 3

    assert met == [None]
    assert erase(lifecycle) == 0
    assert [event.kind for event in events_of(lifecycle)].count("erased") == 1


def called(*words: str, **options: Any) -> str:
    """Return what ``manage.py stockflow`` writes."""
    out = StringIO()
    call_command("stockflow", *words, stdout=out, **options)
    return out.getvalue()


def test_command(ida: Lead) -> None:
    """It shows what it would do, and does it when told to."""
    key = str(ida.pk)
    shown = called("erase", "crm.Lead", key)
    assert "2 events say who, why, with what data or of which key" in shown
    assert "repeat with --apply" in shown
    assert erasable(lifecycle_of(ida), "default") == 2

    done = called("erase", "crm.Lead", key, "--apply", "--actor", "office", "--reason", "ticket 42")
    assert "Erased what 2 events said" in done
    assert (last_event(ida).actor, last_event(ida).reason) == ("office", "ticket 42")
    assert "(erased)" in called("audit", "crm.Lead", key)
    assert "say nothing that can be erased" in called("erase", "crm.Lead", key)


def test_command_finds_deleted_objects(ida: Lead) -> None:
    """By their keys, as long as these are there."""
    key, lifecycle = str(ida.pk), lifecycle_of(ida)
    ida.delete()
    with pytest.raises(CommandError, match=f"Deleted with that key: \n--lifecycle {lifecycle}"):
        called("erase", "crm.Lead", key)
    hot = HotLead.objects.create(pk=int(key) + 1)
    hot.delete()
    with pytest.raises(CommandError, match=r"Deleted with that key: \n--lifecycle"):
        called("erase", "crm.Lead", str(int(key) + 1))

    called("erase", "--lifecycle", str(lifecycle), "--apply")
    with pytest.raises(CommandError, match="Deleted with that key: none is recorded"):
        called("audit", "crm.Lead", key)
    with pytest.raises(CommandError, match="Name an object"):
        called("erase")
    with pytest.raises(CommandError, match="Nothing is recorded of lifecycle"):
        called("erase", "--lifecycle", str(UUID(int=7)))


def test_parked_timers_are_left(time: Clock) -> None:
    """A decay that waits for a person does not keep an object from being erased."""
    with stockflow.context(actor="Ida"):
        trial = Trial.objects.create()
    timers = timers_of(trial)
    for timer in timers.values():
        timer.parked_at = 1
        timer.error = "no"
        timer.save()
    time.advance(400 * DAY)

    assert erase(trial) == 1
    assert {e.actor for e in events_of(trial.stock_lifecycle)} <= {"", "stockflow.schedule"}
    assert {timer.error for timer in timers_of(trial).values()} == {"erased"}

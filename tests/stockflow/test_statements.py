"""What a save costs: counted, on both databases."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from stockflow import context
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lead, Order, Rep, Ticket

pytestmark = [
    pytest.mark.parametrize(
        "real",
        [
            pytest.param(True, id="real", marks=pytest.mark.django_db(transaction=True)),
            pytest.param(False, id="inside", marks=pytest.mark.django_db),
        ],
    )
]


def statements(act: Callable[[], object]) -> list[str]:
    """Return the statements of *act*, BEGIN and COMMIT aside, as verb, table and functions."""
    with CaptureQueriesContext(connection) as captured:
        act()
    texts = [query["sql"].replace('"', "") for query in captured.captured_queries]
    return [_short(text) for text in texts if text.split()[0] not in {"BEGIN", "COMMIT"}]


def _short(text: str) -> str:
    verb, *words = text.split()
    called = re.findall(r"stockflow_(append|start_timer|end_timer)\(", text)
    table = next((word for word in words if "_" in word and "(" not in word), "")
    return " ".join([verb, *([table] if verb != "SELECT" else []), *dict.fromkeys(called)])


def creation(table: str, *timers: str) -> list[str]:
    """Return what an object with a row in *table* is created with: the events come first."""
    if connection.vendor == "postgresql":
        return ["SELECT append", f"INSERT {table}", *(f"SELECT {CALLED[each]}" for each in timers)]
    return ["INSERT stockflow_event", f"INSERT {table}", *timers]


def saving(table: str, *timers: str) -> list[str]:
    """Return what a save with transitions takes; PostgreSQL does all of it in one statement."""
    if connection.vendor == "postgresql":
        return [" ".join([f"UPDATE {table} append", *(CALLED[each] for each in timers)])]
    return ["INSERT stockflow_event", f"UPDATE {table}", *timers]


TIMER = "INSERT stockflow_scheduledtransition"
NO_TIMER = "DELETE stockflow_scheduledtransition"
CALLED = {TIMER: "start_timer", NO_TIMER: "end_timer"}


def test_creation_without_a_decay(real: bool) -> None:
    """One INSERT of events, one of the row."""
    assert statements(Ticket.objects.create) == creation("crm_ticket")


def test_creation_with_a_decay(real: bool) -> None:
    """One more for the timer."""
    assert statements(Lead.objects.create) == creation("crm_lead", TIMER)


def test_a_transition(real: bool) -> None:
    """One INSERT, one UPDATE, no SELECT; or one statement that does both."""
    ticket = Ticket.objects.create()

    def act() -> None:
        ticket.open()
        ticket.save()

    assert statements(act) == saving("crm_ticket")


def test_a_transition_of_a_loaded_instance_in_a_context(real: bool) -> None:
    """Who and why cost nothing."""
    Ticket.objects.create()
    ticket = Ticket.objects.get()

    def act() -> None:
        with context(actor="ada", reason="r", data={"n": 1}):
            ticket.open()
        ticket.save()

    assert statements(act) == saving("crm_ticket")


def test_many_transitions_in_one_save(real: bool) -> None:
    """All events of one save go in one INSERT."""
    ticket = Ticket.objects.create()

    def act() -> None:
        for _ in range(5):
            ticket.put("open")
            ticket.put("closed")
        ticket.save()

    assert statements(act) == saving("crm_ticket")


def test_a_transition_between_two_decaying_states(real: bool, rep: Rep) -> None:
    """The timer is replaced by one statement; related facets cost none."""
    lead = Lead.objects.create(owner=rep)

    def act() -> None:
        lead.cool()
        lead.save()

    assert statements(act) == saving("crm_lead", TIMER)


def test_a_transition_that_ends_a_timer(real: bool) -> None:
    """One DELETE."""
    lead = Lead.objects.create()

    def act() -> None:
        lead.win(1)
        lead.save()

    assert statements(act) == saving("crm_lead", NO_TIMER)


def test_a_transition_between_states_without_timers(real: bool) -> None:
    """No statement for a timer that neither starts nor ends."""
    lead = Lead.objects.create(temperature="cold")

    def act() -> None:
        lead.lose()
        lead.save()

    assert statements(act) == saving("crm_lead")


def test_an_overdue_decay_is_settled_at_no_extra_cost(real: bool, time: Clock) -> None:
    """Settling is in memory."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=10))

    def act() -> None:
        lead.win(1)
        lead.save()

    assert statements(act) == saving("crm_lead", NO_TIMER)


def test_two_fields_in_one_save(real: bool) -> None:
    """Both fields' events in one INSERT, both timers in one statement."""
    order = Order.objects.create(grace=timedelta(days=1))

    def act() -> None:
        order.pay()
        order.send()
        order.save()

    assert statements(act) == saving("crm_order", NO_TIMER)


def test_a_facet_change(real: bool) -> None:
    """As dear as a transition."""
    lead = Lead.objects.create()

    def act() -> None:
        lead.channel = "phone"
        lead.save()

    assert statements(act) == saving("crm_lead")


@pytest.mark.parametrize("names", [None, ["note"]], ids=["all", "update-fields"])
def test_a_save_without_transitions(real: bool, names: Any) -> None:
    """The UPDATE that Django does anyway."""
    lead = Lead.objects.create()
    lead.note = "x"

    assert statements(lambda: lead.save(update_fields=names)) == ["UPDATE crm_lead"]


def test_a_child_with_a_table_of_its_own(real: bool) -> None:
    """One UPDATE per table, as Django does."""
    big = BigLead.objects.create()

    def act() -> None:
        big.offer()
        big.save()

    *parent, last = saving("crm_lead", NO_TIMER)
    if connection.vendor == "postgresql":
        assert statements(act) == [*parent, last, "UPDATE crm_biglead"]
    else:
        assert statements(act) == [*parent, "UPDATE crm_biglead", last]


def test_in_a_block_no_savepoint_is_opened(real: bool) -> None:
    """A block pays for its saves only."""
    tickets = [Ticket.objects.create() for _ in range(3)]

    def act() -> None:
        with transaction.atomic(savepoint=False):
            for ticket in tickets:
                ticket.open()
                ticket.save()

    assert statements(act) == saving("crm_ticket") * 3

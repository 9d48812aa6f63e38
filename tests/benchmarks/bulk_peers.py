"""Many tickets closed and opened again at once: by us, by hand, and with Django alone."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from stockflow.domain.cells import encode_facets
from stockflow.domain.instants import to_micros
from tests.benchmarks import bulk, copying, peers
from tests.benchmarks.models import (
    FacetTicket,
    Owner,
    PlainEvent,
    PlainMove,
    PlainTicket,
    TimedTicket,
    WorkingTicket,
)

assert peers.PEERS  # imported so that django-fsm-log hears its own tickets only

MADE = 5_000
"""How many tickets are made as one makes them; the others are copies by SQL, with their log."""

MODELS = (PlainTicket, FacetTicket, TimedTicket, WorkingTicket)


def make(count: int, only: Iterable[type[Any]] = MODELS) -> None:
    """Create *count* open tickets of each model."""
    owners = [Owner._default_manager.create(team=f"team {n}") for n in range(3)]
    for model in only:
        made = range(min(count, MADE))
        new = model._default_manager.bulk_create([_ticket(model, n, owners) for n in made])
        copying.copies(model, count - len(made), [ticket.pk for ticket in new])
    _analyze()


def _ticket(model: type[Any], n: int, owners: list[Owner]) -> Any:
    channel = ("web", "phone", "mail")[n % 3]
    return model(
        title=f"Ticket {n}", channel=channel, priority=n % 5, amount=n % 1000, owner=owners[n % 3]
    )


def _analyze() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


LIFECYCLE = {
    "postgresql": "r.stock_lifecycle::text",
    "sqlite": "substr(r.stock_lifecycle, 1, 8) || '-' || substr(r.stock_lifecycle, 9, 4) || '-' || "
    "substr(r.stock_lifecycle, 13, 4) || '-' || substr(r.stock_lifecycle, 17, 4) || '-' || "
    "substr(r.stock_lifecycle, 21)",
}
FACETS = {
    "postgresql": "'{\"channel\":' || to_json(r.channel::text)::text || ',\"owner__team\":' || "
    "to_json(o.team::text)::text || ',\"priority\":' || r.priority || '}'",
    "sqlite": "'{\"channel\":' || json_quote(r.channel) || ',\"owner__team\":' || "
    "json_quote(o.team) || ',\"priority\":' || r.priority || '}'",
}


def _by_hand(source: str, target: str, name: str) -> None:
    table, vendor, at = FacetTicket._meta.db_table, connection.vendor, timezone.now()
    lock = " FOR NO KEY UPDATE OF r" if vendor == "postgresql" else ""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation) "
            f"SELECT 'stockflow', {LIFECYCLE[vendor]}, r.stock_version + 1, 'stockflow:moved', "
            f"l.model, 'state', 'moved', %s, r.state, %s, l.target_facets, {FACETS[vendor]}, %s, %s, "
            f"'', '', '' FROM {table} r JOIN {Owner._meta.db_table} o ON o.id = r.owner_id "
            f"JOIN stockflow_event l ON l.application = 'stockflow' "
            f"AND l.originator = {LIFECYCLE[vendor]} AND l.version = r.stock_version "
            f"WHERE r.state = %s{lock}",
            [name, target, to_micros(at), to_micros(at), source],
        )
        cursor.execute(
            f"UPDATE {table} SET state = %s, state_since = %s, state_due_at = NULL, "
            "stock_version = stock_version + 1, stock_changed_at = %s WHERE state = %s",
            [target, str(at), str(at), source],
        )


def _with_orm(source: str, target: str, name: str) -> None:
    tickets = PlainTicket._default_manager.filter(state=source)
    with transaction.atomic():
        at, keys = timezone.now(), tickets.values_list("pk", flat=True)
        moves = (
            PlainMove(ticket_id=key, transition=name, source=source, target=target, at=at)
            for key in keys
        )
        PlainMove._default_manager.bulk_create(moves, batch_size=5000)
        tickets.update(state=target)


def _with_orm_as_much(source: str, target: str, name: str) -> None:
    tickets = PlainTicket._default_manager.filter(state=source).select_related("owner")
    with transaction.atomic():
        at, version = to_micros(timezone.now()), next(_versions)
        events = (_plain_event(ticket, source, target, name, at, version) for ticket in tickets)
        PlainEvent._default_manager.bulk_create(events, batch_size=5000)
        tickets.update(state=target)


_versions = itertools.count(1)


def _plain_event(
    ticket: PlainTicket, source: str, target: str, name: str, at: int, version: int
) -> PlainEvent:
    facets = encode_facets(
        {"channel": ticket.channel, "owner__team": ticket.owner.team, "priority": ticket.priority}
    )
    return PlainEvent(
        ticket=ticket,
        version=version,
        topic="moved",
        model="benchmarks.plainticket",
        field="state",
        kind="moved",
        transition=name,
        source=source,
        target=target,
        source_facets=facets,
        target_facets=facets,
        occurred_at=at,
        recorded_at=at,
    )


def _there_and_back(model: type[Any]) -> Callable[[], None]:
    def step() -> None:
        name = "close" if model._base_manager.filter(state="open").exists() else "reopen"
        outcome = model._default_manager.transition(name)
        if outcome.moved != outcome.total:
            raise RuntimeError(f"{model.__name__}: {outcome}")

    return step


def _other(write: Callable[[str, str, str], None], model: type[Any]) -> Callable[[], None]:
    def step() -> None:
        if model._base_manager.filter(state="open").exists():
            write("open", "closed", "close")
        else:
            write("closed", "open", "reopen")

    return step


STEPS: tuple[tuple[str, Callable[[], None]], ...] = (
    (bulk.HAND, _other(_by_hand, FacetTicket)),
    (bulk.SET, _there_and_back(FacetTicket)),
    (bulk.TIMER, _there_and_back(TimedTicket)),
    (bulk.METHOD, _there_and_back(WorkingTicket)),
    (bulk.ORM, _other(_with_orm_as_much, PlainTicket)),
    (bulk.SHORT, _other(_with_orm, PlainTicket)),
)
"""In the order of the table."""

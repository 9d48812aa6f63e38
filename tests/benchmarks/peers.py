"""Who is measured: how each makes its tickets, and what one of its transitions is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.utils import timezone
from django_fsm.signals import post_transition, pre_transition
from django_fsm_log.backends import SimpleBackend

from tests.benchmarks.models import (
    BareTicket,
    FacetTicket,
    HistoricTicket,
    LoggedTicket,
    Owner,
    PlainMove,
    PlainTicket,
    StockTicket,
    TimedTicket,
)
from tests.benchmarks.report import BARE, ENDS, FACETS, FLOOR, HISTORIC, LOGGED, OURS, STARTS


def _log_one_model_only() -> None:
    """Let django-fsm-log, which hears every model's transitions, hear those of its own tickets."""
    for signal, hear in (
        (pre_transition, SimpleBackend.pre_transition_callback),
        (post_transition, SimpleBackend.post_transition_callback),
    ):
        if not signal.disconnect(hear):
            raise LookupError(
                f"{hear.__qualname__} of django-fsm-log hears nothing: did it change?"
            )
        signal.connect(hear, sender=LoggedTicket)


_log_one_model_only()


@dataclass(frozen=True)
class Peer:
    """One way to move a ticket there and back.

    Attributes:
        model: Its tickets.
        close: The first transition, with its save.
        reopen: The second, which undoes the first.
        names: The lines of the table in which the two are counted.
    """

    model: type[models.Model]
    close: Callable[[Any], None]
    reopen: Callable[[Any], None]
    names: tuple[str, str]

    def legs(self) -> tuple[tuple[str, Callable[[Any], None]], ...]:
        """Return the line and the transition of the way there, and of the way back."""
        return (self.names[0], self.close), (self.names[1], self.reopen)

    def tickets(self, count: int) -> list[Any]:
        """Load *count* tickets anew, as a request would."""
        return list(self.model._default_manager.order_by("pk")[:count])

    def make(self, count: int) -> None:
        """Create *count* open tickets."""
        owners = [Owner._default_manager.get_or_create(team=f"team {n}")[0] for n in range(3)]
        for n in range(count):
            self.model._default_manager.create(
                title=f"Ticket {n}",
                channel=("web", "phone", "mail")[n % 3],
                priority=n % 5,
                amount=n,
                owner=owners[n % 3],
            )


def _close(ticket: Any) -> None:
    ticket.close()
    ticket.save()


def _reopen(ticket: Any) -> None:
    ticket.reopen()
    ticket.save()


_MOVE = (
    f"INSERT INTO {PlainMove._meta.db_table} (ticket_id, transition, source, target, at) "
    "VALUES (%s, %s, %s, %s, %s)"
)
_SET = f"UPDATE {PlainTicket._meta.db_table} SET state = %s WHERE id = %s AND state = %s"


def _write(ticket: PlainTicket, name: str, source: str, target: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, [ticket.pk, name, source, target, timezone.now()])
        cursor.execute(_SET, [target, ticket.pk, source])


def _plain_close(ticket: PlainTicket) -> None:
    _write(ticket, "close", "open", "closed")


def _plain_reopen(ticket: PlainTicket) -> None:
    _write(ticket, "reopen", "closed", "open")


def _both(name: str) -> tuple[str, str]:
    return name, name


PEERS = (
    Peer(PlainTicket, _plain_close, _plain_reopen, _both(FLOOR)),
    Peer(BareTicket, _close, _reopen, _both(BARE)),
    Peer(StockTicket, _close, _reopen, _both(OURS)),
    Peer(FacetTicket, _close, _reopen, _both(FACETS)),
    Peer(TimedTicket, _close, _reopen, (STARTS, ENDS)),
    Peer(LoggedTicket, _close, _reopen, _both(LOGGED)),
    Peer(HistoricTicket, _close, _reopen, _both(HISTORIC)),
)
"""In the order of the table."""

"""Processes that write on hot objects: with rollbacks, savepoints, erasures, pauses before commit.

Run as ``python -m tests.faults.order_writer DATABASE WRITERS ROUNDS``.
"""

import multiprocessing
import sys
import time
from contextlib import suppress
from random import Random
from typing import Any

import django
from django.conf import settings

HOT = 5
"""How many objects the writers share."""


class Abandoned(Exception):
    """What makes a writer roll back."""


def main(database: str, writers: int, rounds: int) -> int:
    """Let *writers* processes write *rounds* transactions each into *database*."""
    settings.DATABASES["default"]["NAME"] = database
    django.setup()
    fork = multiprocessing.get_context("fork")  # what is set up once serves all
    processes = [fork.Process(target=write, args=(seed, rounds)) for seed in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode or 0) for process in processes)


def write(seed: int, rounds: int) -> None:
    """Write *rounds* transactions, and sequence now and then."""
    from django.db import OperationalError, connection

    from stockflow.errors import ConcurrentTransition
    from stockflow.eventstore.sequencer import sequence

    random = Random(seed)
    # Where one writes at a time somebody may wait in vain; elsewhere nobody waits for a sequencer.
    busy = (OperationalError,) if connection.vendor == "sqlite" else ()
    for _ in range(rounds):
        # A deadlock or a busy database ends a transaction as a rollback does.
        with suppress(Abandoned, ConcurrentTransition, OperationalError):
            transact(random)
        if random.random() < 0.2:
            with suppress(*busy):
                sequence()
    connection.close()


def transact(random: Random) -> None:
    """Write one transaction, or leave it."""
    from django.db import transaction

    from stockflow import context
    from stockflow.erasure import erase
    from tests.crm.models import Ticket

    with transaction.atomic(), context(actor="somebody"):
        for key in sorted(random.sample(range(1, HOT + 1), random.choice([1, 1, 2]))):
            move(Ticket.objects.get(title=f"hot {key}"), random)
        if random.random() < 0.1:
            erase(Ticket.objects.get(title=f"hot {random.randint(1, HOT)}"))
        with suppress(Abandoned), transaction.atomic():
            Ticket.objects.create(title="new")
            if random.random() < 0.3:
                raise Abandoned
        time.sleep(random.choice([0, 0.001, 0.02]))
        if random.random() < 0.2:
            raise Abandoned


def move(ticket: Any, random: Random) -> None:
    """Give the ticket one event, or two."""
    for _ in range(random.choice([1, 1, 2])):
        ticket.put(random.choice(["open", "closed"]))
        ticket.save()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

"""The ways in which a decay comes to happen: by SQL, from rows, by methods, or settled in memory."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.apps import apps
from django.db import transaction

from stockflow import conf
from stockflow.domain.instants import MICROSECOND, to_micros
from stockflow.models import ScheduledTransition
from stockflow.scheduling import decays, uniform
from stockflow.scheduling.decays import fire_due
from stockflow.scheduling.setwise import Setwise
from stockflow.settling import settle
from stockflow.subjects import locked_rows


def by_schedule(size: int) -> int:
    """Run the schedule in chunks of *size* timers; return how many decays happened."""
    return sum(chunk.fired for chunk in fire_due(chunk_size=size))


def in_memory(size: int) -> int:
    """Load each object with an overdue timer and save it settled, as a user's call would."""
    fired = 0
    while True:
        due = ScheduledTransition.objects.filter(due_at__lte=to_micros(conf.now()))
        timers = list(due.order_by("due_at", "id")[:size])
        for timer in timers:
            with transaction.atomic():
                model = apps.get_model(timer.model)
                row = locked_rows(model, "default").get(stock_lifecycle=timer.lifecycle)
                fired += settle(row, conf.now() + MICROSECOND)  # what is due now is due, too
                row.save()
        if not timers:
            return fired


class Way:
    """One way: how it is forced, how it fires, and whether it was gone.

    Attributes:
        fire: Lets happen what is due, so many timers in a transaction.
    """

    fire: Callable[[int], int] = staticmethod(by_schedule)

    def __init__(self) -> None:
        self.gone = 0

    @contextmanager
    def forced(self) -> Iterator["Way"]:
        """Let nothing be fired in another way until the block ends."""
        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            yield self

    def patches(self) -> Iterator[AbstractContextManager[object]]:
        """Yield what forces it."""
        raise NotImplementedError

    def counting(self, owner: object, name: str) -> AbstractContextManager[object]:
        """Count the calls of *name*."""
        real = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.gone += 1
            return real(*args, **kwargs)

        return patch.object(owner, name, counted)


class BySql(Way):
    """Without reading the objects."""

    def patches(self) -> Iterator[AbstractContextManager[object]]:
        yield self.counting(Setwise, "_append")


class FromRows(Way):
    """What each goes through is worked out from its row."""

    def patches(self) -> Iterator[AbstractContextManager[object]]:
        yield patch.object(Setwise, "fire", lambda *_: set())
        yield self.counting(uniform, "fire")


class ByMethods(Way):
    """Each object is loaded, and its methods are called."""

    def patches(self) -> Iterator[AbstractContextManager[object]]:
        yield patch.object(uniform, "is_uniform", lambda _: False)
        yield self.counting(decays, "_fire_objects")


class InMemory(Way):
    """Settled by whoever touches the object before the schedule does."""

    fire: Callable[[int], int] = staticmethod(in_memory)

    def patches(self) -> Iterator[AbstractContextManager[object]]:
        self.gone = 1
        return iter(())


WAYS: dict[str, type[Way]] = {
    "by-sql": BySql,
    "from-rows": FromRows,
    "by-methods": ByMethods,
    "in-memory": InMemory,
}

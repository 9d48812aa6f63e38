"""Firing decays by calling their methods: objects of one model, in due order, written together."""

import heapq
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models, transaction

from stockflow import deferring, settling
from stockflow.bulk.methods import Loaded, write
from stockflow.domain.errors import StockflowError
from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.ledgers import ledger_of
from stockflow.scheduling import parking
from stockflow.scheduling.locking import Timer
from stockflow.scheduling.outcomes import Chunk
from stockflow.settling import TURNS_AT_ONE_INSTANT, Became, Turns
from stockflow.tables import ScheduledTransition


class Decaying(Loaded):
    """A locked object whose decays are due.

    Attributes:
        timers: By field, those that may be fired: as they were when it was locked.
        turns: How many it had at the instant of the last one.
    """

    __slots__ = ("timers", "turns")

    def __init__(self, row: Any, timers: dict[str, Timer]) -> None:
        super().__init__(row)
        self.timers, self.turns = timers, Turns()

    def known_timer(self, field: str) -> Timer | None:
        """Return the timer of *field*; None if a method saved the object, and with it its timers."""
        return None if ledger_of(self.row).unconfirmed else self.timers.get(field)

    def known_clock(self, field: str) -> int | None:
        """Return the version that set the clock of *field*; None if an event since then did."""
        timer = self.known_timer(field)
        pending = ledger_of(self.row).pending
        if timer is None or any(e.field == field and e.sets_clock for e in pending):
            return None
        return timer.version

    def overdue(self, limit: datetime) -> tuple[datetime, Any] | None:
        """Return when the next decay is due, at *limit* or before, and of which field."""
        found, known = None, self.row.__dict__
        for field in self.row._stock_fields():
            due_at = known.get(field.due_name)
            if due_at is None or due_at > limit or field.name not in self.timers:
                continue
            if found is None or due_at < found[0]:
                found = due_at, field
        return found


class Objects:
    """The locked objects of one model in one chunk.

    Args:
        model: Their class.
        objects: They, in the order of their keys.
        limit: The last due instant to fire.
        using: The alias of the database.
        chunk: Where to count.
        careful: Whether each decay is written by itself, in a savepoint of its own.
    """

    def __init__(
        self,
        model: type[models.Model],
        objects: Sequence[Decaying],
        limit: datetime,
        using: str,
        chunk: Chunk,
        *,
        careful: bool,
    ) -> None:
        self.model, self.objects, self.limit, self.using = model, objects, limit, using
        self.chunk, self.careful = chunk, careful
        self.after: list[tuple[Timer, datetime, Became | str]] = []

    def fire(self) -> None:
        """Let the decays happen in due order, chained ones included, then write what they did."""
        queue: list[tuple[datetime, int, Decaying, Any]] = []
        count = itertools.count()
        for one in self.objects:
            self._push(queue, next(count), one)
        while queue:
            due_at, _, one, field = heapq.heappop(queue)
            if self._step(one, due_at, field):
                self._push(queue, next(count), one)
        if not self.careful:
            self._write()
        for timer, due_at, why in self.after:  # the writing of an object starts its timers anew
            self._set_aside(timer, due_at, why)

    def _push(
        self, queue: list[tuple[datetime, int, Decaying, Any]], number: int, one: Decaying
    ) -> None:
        overdue = one.overdue(self.limit)
        if overdue is not None:
            heapq.heappush(queue, (overdue[0], number, one, overdue[1]))

    def _step(self, one: Decaying, due_at: datetime, field: Any) -> bool:
        """Let the decay of *field* happen; return whether the object can go on."""
        if not self.careful:
            self._apply(one, due_at, field)
            return True
        counted, timer = (self.chunk.fired, self.chunk.skipped), one.timers[field.name]
        try:
            with transaction.atomic(using=self.using):
                self._apply(one, due_at, field)
                one.row.save(using=self.using)
        except Exception as error:  # what it is in memory now is not what its row says
            if not parking.can_write(self.using):
                raise
            self.chunk.fired, self.chunk.skipped = counted
            parking.fail(self._stored(timer, due_at).get(), error, self.using, self.chunk)
            return False
        return True

    def _apply(self, one: Decaying, due_at: datetime, field: Any) -> None:
        row, timer, known = one.row, one.timers[field.name], one.known_timer(field.name)
        if one.turns.are_looping(due_at):
            self._leave(one, timer, due_at, _LOOP)
            return
        decay = deferring.due_decay(row, field, known and known.transition)
        if decay is None:
            raise StockflowError(
                f"no decay leaves {row.__dict__[field.name]!r} any more, so {timer.transition!r} "
                "cannot be fired: put it back, run `manage.py stockflow reschedule`, or call a "
                "transition on the object."
            )
        became = settling.apply(row, field, decay, due_at, one.known_clock(field.name))
        self.chunk.fired += became is Became.FIRED
        self.chunk.skipped += became is Became.SKIPPED
        if became not in settling.DONE:
            self._leave(one, timer, due_at, became)

    def _leave(self, one: Decaying, timer: Timer, due_at: datetime, why: Became | str) -> None:
        """Fire no more of that field in this chunk."""
        del one.timers[timer.field]
        self.after.append((timer, due_at, why))

    def _write(self) -> None:
        changed = [one for one in self.objects if ledger_of(one.row).pending]
        if write(self.model, changed, self.using):
            raise ConcurrentTransition(
                f"A method saved objects of {self.model._meta.label} that it does not belong to."
            )

    def _set_aside(self, timer: Timer, due_at: datetime, why: Became | str) -> None:
        for stored in self._stored(timer, due_at):  # none where another field's decay moved it
            if why is Became.HELD:
                parking.hold(stored, self.using, self.chunk)
            else:
                parking.park(stored, _WHY.get(why, str(why)), self.using, self.chunk)

    def _stored(self, timer: Timer, due_at: datetime) -> "models.QuerySet[ScheduledTransition]":
        """Return what the timer is by now, if it is still the one of the decay due at *due_at*."""
        timers = ScheduledTransition.objects.using(self.using)
        return timers.filter(lifecycle=timer.lifecycle, field=timer.field, due_at=to_micros(due_at))


_LOOP = f"{TURNS_AT_ONE_INSTANT} decays at one instant: does a chain of decays loop without delay?"
_WHY: dict[Became | str, str] = {
    Became.UNDECIDED: "Its conditions were false when it was due.",
    Became.LATE: "It is later than its max_lateness.",
}

"""Firing decays by calling their methods: objects of one model, in due order, written together."""

import heapq
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, models, transaction

from stockflow import deferring, settling
from stockflow.bulk.methods import Loaded, write
from stockflow.domain.errors import StockflowError
from stockflow.errors import ConcurrentTransition
from stockflow.ledgers import ledger_of
from stockflow.scheduling import parking
from stockflow.scheduling.locking import Timers
from stockflow.scheduling.outcomes import Chunk
from stockflow.settling import Became
from stockflow.tables import ScheduledTransition

TURNS_AT_ONE_INSTANT = 100
"""More decays of one object at one instant than this are taken for a loop."""


class Objects:
    """The locked objects of one model in one chunk.

    Args:
        model: Their class.
        rows: The objects, in the order of their keys.
        timers: All their timers, as they are under the lock.
        limit: The last due instant to fire.
        using: The alias of the database.
        chunk: Where to count.
        careful: Whether each decay is written by itself, in a savepoint of its own.
    """

    def __init__(
        self,
        model: type[models.Model],
        rows: Sequence[Any],
        timers: Timers,
        limit: datetime,
        using: str,
        chunk: Chunk,
        *,
        careful: bool,
    ) -> None:
        self.model, self.timers, self.limit, self.using = model, timers, limit, using
        self.chunk, self.careful = chunk, careful
        self.loaded = [Loaded(row) for row in rows]
        self.blocked = {row.stock_lifecycle: self._blocked(row) for row in rows}
        self.turns = Counter[tuple[UUID, datetime]]()
        self.after: list[tuple[ScheduledTransition, Became]] = []

    def _blocked(self, row: Any) -> set[str]:
        """Return the fields whose timers are not to be fired now, such as the parked ones."""
        names = {field.name for field in row._stock_fields()}
        return {name for name in names if (row.stock_lifecycle, name) not in self.timers}

    def fire(self) -> None:
        """Let the decays happen in due order, chained ones included, then write what they did."""
        queue: list[tuple[datetime, int, Any]] = []
        count = itertools.count()
        for one in self.loaded:
            self._push(queue, next(count), one.row)
        while queue:
            _, _, row = heapq.heappop(queue)
            if self._step(row):
                self._push(queue, next(count), row)
        if not self.careful:
            self._write()
        for timer, became in self.after:  # the writing of an object starts its timers anew
            self._set_aside(timer, became)

    def _push(self, queue: list[tuple[datetime, int, Any]], number: int, row: Any) -> None:
        overdue = self._overdue(row)
        if overdue is not None:
            heapq.heappush(queue, (overdue[0], number, row))

    def _overdue(self, row: Any) -> Any:
        """Return when the next decay of *row* is due, of which field; None if nothing is."""
        blocked = self.blocked[row.stock_lifecycle]
        found = None
        for field in row._stock_fields():
            due_at = row.__dict__.get(field.due_name)
            if due_at is None or due_at > self.limit or field.name in blocked:
                continue
            if found is None or due_at < found[0]:
                found = due_at, field
        return found

    def _step(self, row: Any) -> bool:
        """Let the next decay of *row* happen; return whether the object can go on."""
        due_at, field = self._overdue(row)
        timer = self.timers[row.stock_lifecycle, field.name]
        if not self.careful:
            return self._apply(row, due_at, field, timer)
        counted = self.chunk.fired, self.chunk.skipped
        try:
            with transaction.atomic(using=self.using):
                can_go_on = self._apply(row, due_at, field, timer)
                row.save(using=self.using)
                return can_go_on
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # what it is in memory now is not what its row says
            self.chunk.fired, self.chunk.skipped = counted
            parking.fail(timer, error, self.using, self.chunk)
            return False

    def _apply(self, row: Any, due_at: datetime, field: Any, timer: ScheduledTransition) -> bool:
        key = row.stock_lifecycle, due_at
        self.turns[key] += 1
        if self.turns[key] > TURNS_AT_ONE_INSTANT:
            self.blocked[row.stock_lifecycle].add(field.name)
            self.after.append((timer, Became.LATE))
            timer.error = _LOOP
            return True
        decay = deferring.due_decay(row, field)
        if decay is None:
            raise StockflowError(
                f"no decay leaves {row.__dict__[field.name]!r} any more, so {timer.transition!r} "
                "cannot be fired: put it back, run `manage.py stockflow reschedule`, or call a "
                "transition on the object."
            )
        became = settling.apply(row, field, decay, due_at)
        self.chunk.fired += became is Became.FIRED
        self.chunk.skipped += became is Became.SKIPPED
        if became not in settling.DONE:
            self.blocked[row.stock_lifecycle].add(field.name)
            self.after.append((timer, became))
        return True

    def _write(self) -> None:
        changed = [one for one in self.loaded if ledger_of(one.row).pending]
        if write(self.model, changed, self.using):
            raise ConcurrentTransition(
                f"A method saved objects of {self.model._meta.label} that it does not belong to."
            )

    def _set_aside(self, timer: ScheduledTransition, became: Became) -> None:
        if became is Became.HELD:
            parking.hold(timer, self.using, self.chunk)
        else:
            parking.park(timer, timer.error or _WHY[became], self.using, self.chunk)


_LOOP = f"{TURNS_AT_ONE_INSTANT} decays at one instant: does a chain of decays loop without delay?"
_WHY = {
    Became.UNDECIDED: "Its conditions were false when it was due.",
    Became.LATE: "It is later than its max_lateness.",
}

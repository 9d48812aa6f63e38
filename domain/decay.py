"""Decay: how long a state lasts before a scheduled transition leaves it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from dateutil.relativedelta import relativedelta

from stockflow.domain.errors import InvalidDelay

Length = timedelta | relativedelta
Delay = Length | Callable[[Any], "Length | datetime | None"]
"""A fixed length, a calendar length, or a function of the object that gives one, the due
instant itself, or None for never."""


OnFalse = Literal["retry", "skip", "park"]
"""What becomes of a decay whose conditions are false when it is due: it stays overdue and is
tried again, it does not happen in this stay, or it is set aside for a person."""


@dataclass(frozen=True)
class Decay:
    """A transition that happens by itself, some time after its source was entered.

    Attributes:
        transition: The method.
        source: The state that it leaves.
        delay: How long after its entry.
        on_false: What becomes of it when its conditions are false.
        max_lateness: A decay later than this is left to a person; None for any.
    """

    transition: str
    source: str
    delay: Delay
    on_false: OnFalse = "retry"
    max_lateness: timedelta | None = None

    def due_at(self, since: datetime, subject: Any) -> datetime | None:
        """Return when it is due for *subject*, in its state since *since*; None for never.

        A calendar length is added in UTC, month ends clipped: 31 January and one month is
        the last day of February. What would be due before *since* is due at *since*.

        >>> decay = Decay("cool", "hot", relativedelta(months=1))
        >>> decay.due_at(datetime(2026, 1, 31, tzinfo=UTC), None).isoformat()
        '2026-02-28T00:00:00+00:00'

        Raises:
            InvalidDelay: If the delay is a function and gives anything else, or an instant
                without time zone.
        """
        length = self.delay(subject) if callable(self.delay) else self.delay
        if length is None:
            return None
        if isinstance(length, datetime):
            if length.utcoffset() is None:
                raise self._invalid(length)
            return max(since, length.astimezone(UTC))
        if not isinstance(length, Length):
            raise self._invalid(length)
        due: datetime = since + length
        return max(since, due)

    def _invalid(self, value: object) -> InvalidDelay:
        return InvalidDelay(
            f"The delay of {self.transition!r} from {self.source!r} gave {value!r}: give a timedelta, "
            "a relativedelta, a timezone-aware due instant, or None for never."
        )


def earliest(
    decays: Iterable[Decay], since: datetime, subject: Any
) -> tuple[Decay, datetime] | None:
    """Return the decay that comes first, and when; the first declared where two are equal."""
    dated = [(decay, decay.due_at(since, subject)) for decay in decays]
    due = [(decay, at) for decay, at in dated if at is not None]
    return min(due, key=lambda pair: pair[1], default=None)

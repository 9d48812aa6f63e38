"""Survival curves as they are shown: ages as timedeltas, points as rows."""

from datetime import timedelta
from typing import Any

from stockflow.domain.instants import MICROSECOND
from stockflow.domain.measures.survival import Curve
from stockflow.projections.answers import Answer
from stockflow.projections.frames import Framed
from stockflow.projections.statements import Holds


class Survival(Answer[tuple[Any, ...]], Framed):
    """Rows of age, share that stays longer, and share that has left, by where to.

    Kaplan and Meier's curve with Aalen and Johansen's exits: in each row they sum to 1. Exits
    to the outside stand under ``(outside)``.

    Attributes:
        curve: What it is made of, in microseconds.
        exits: Where stays led to, in order.
        observed: How many stays it is made of.
        truncated: How many were left out, since nobody saw them begin.
        longest: The greatest age that anyone was seen at.
    """

    def __init__(self, curve: Curve, holds: Holds) -> None:
        self.curve = curve
        last = curve.points[-1].exits if curve.points else {}
        self.exits: tuple[str | None, ...] = tuple(sorted(last, key=lambda one: (one is None, one)))
        self.observed, self.truncated = curve.observed, curve.truncated
        self.longest = curve.longest * MICROSECOND
        super().__init__(
            (
                (
                    point.age * MICROSECOND,
                    point.survival,
                    *(point.exits.get(exit_to, 0.0) for exit_to in self.exits),
                )
                for point in curve.points
            ),
            *holds,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        return ("age", "survival", *(one or "(outside)" for one in self.exits))

    @property
    def median(self) -> timedelta | None:
        """The first age at which half or fewer remain; None if that is more than *longest*."""
        found = self.curve.median()
        return None if found is None else found * MICROSECOND

    def restricted_mean(self, until: timedelta) -> timedelta | None:
        """Return the mean time spent up to the age *until*; None where nobody was seen so long."""
        found = self.curve.restricted_mean(until // MICROSECOND)
        return None if found is None else found * MICROSECOND

    def at(self, age: timedelta) -> dict[str | None, float]:
        """Return the share that has left by *age*, by where to; None is the outside."""
        return dict.fromkeys(self.exits, 0.0) | self.curve.at(age // MICROSECOND).exits

    def remaining(self, age: timedelta) -> float:
        """Return the share that stays longer than *age*."""
        return self.curve.at(age // MICROSECOND).survival

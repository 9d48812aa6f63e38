"""What became of the objects of a bulk transition."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How many objects a bulk transition moved, and what became of the others.

    >>> Outcome(moved=2, not_allowed=1).total
    3

    Attributes:
        moved: The transition was made.
        not_allowed: The machine has no such transition from the object's state.
        condition_false: A condition of the transition was false.
        denied: The user lacks the transition's permission, or the one to change the object.
        conflict: Another writer was first: it changed or deleted the object meanwhile.
    """

    moved: int = 0
    not_allowed: int = 0
    condition_false: int = 0
    denied: int = 0
    conflict: int = 0

    @property
    def total(self) -> int:
        """How many objects there were."""
        return self.moved + self.not_allowed + self.condition_false + self.denied + self.conflict

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.moved + other.moved,
            self.not_allowed + other.not_allowed,
            self.condition_false + other.condition_false,
            self.denied + other.denied,
            self.conflict + other.conflict,
        )

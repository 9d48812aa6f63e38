"""What became of the decays of one chunk."""

from dataclasses import dataclass, field
from uuid import UUID

from stockflow.tables import ScheduledTransition


@dataclass(frozen=True)
class Failure:
    """A decay that could not be fired.

    Attributes:
        model: The label of the object's model.
        lifecycle: The object.
        field: The stock field.
        transition: The decay.
        error: What was raised.
        is_parked: Whether it is not tried again.
    """

    model: str
    lifecycle: UUID
    field: str
    transition: str
    error: str
    is_parked: bool

    @classmethod
    def of(cls, timer: ScheduledTransition) -> "Failure":
        """Return that of *timer*, whose error was just written down."""
        return cls(
            timer.model,
            timer.lifecycle,
            timer.field,
            timer.transition,
            timer.error,
            timer.parked_at is not None,
        )

    def __str__(self) -> str:
        parked = (
            " It is parked: `manage.py stockflow release` tries it again." if self.is_parked else ""
        )
        return f"{self.model} {self.lifecycle}, {self.transition!r} of {self.field!r}: {self.error}{parked}"


@dataclass
class Chunk:
    """What one chunk did that is committed.

    Attributes:
        fired: How many decays happened, chained ones included.
        skipped: How many did not happen in this stay, since their conditions were false.
        obsolete: How many timers were not what their objects say, and are mended or gone.
        held: Timers of decays whose conditions are false: tried again later.
        busy: Timers of objects that another writer has locked: left to it, or to the next run.
        failures: Decays that raised or were left to a person: tried again later, unless parked.
        failed_hooks: What raised of that which methods left to run after the commit.
        is_uniform: Whether SQL alone did all of it.
    """

    fired: int = 0
    skipped: int = 0
    obsolete: int = 0
    held: set[int] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    failures: dict[int, Failure] = field(default_factory=dict)
    failed_hooks: list[str] = field(default_factory=list)
    is_uniform: bool = False

    def add(self, other: "Chunk") -> None:
        """Count what *other* did, too."""
        self.fired += other.fired
        self.skipped += other.skipped
        self.obsolete += other.obsolete
        self.held |= other.held
        self.busy |= other.busy
        self.failures |= other.failures
        self.failed_hooks += other.failed_hooks

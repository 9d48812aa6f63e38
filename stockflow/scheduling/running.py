"""One run of the whole schedule: what is due happens, then the periodic jobs run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stockflow import conf
from stockflow.errors import ScheduleFailed
from stockflow.scheduling.decays import fire_due
from stockflow.scheduling.outcomes import Failure
from stockflow.scheduling.runs import run_jobs

__all__ = ["run_schedule"]

SHOWN = 10


def never() -> bool:
    """Say that nothing asks to stop."""
    return False


@dataclass
class Run:
    """What one run does, as far as it is.

    Attributes:
        until: The last due instant that it fires.
        using: The alias of the database.
        fired: How many decays happened.
        held: How many were held back.
        failures: The decays that could not be fired.
        failed_hooks: What raised after the commit of decays that happened.
        jobs: How many periodic jobs ran.
        failed_jobs: What those said that failed.
        is_stopped: Whether it was asked to stop before it was done.
    """

    until: datetime
    using: str
    fired: int = 0
    held: int = 0
    failures: list[Failure] = field(default_factory=list)
    failed_hooks: list[str] = field(default_factory=list)
    jobs: int = 0
    failed_jobs: list[str] = field(default_factory=list)
    is_stopped: bool = False

    def go(self, should_stop: Callable[[], bool] = never) -> Iterator[int]:
        """Do it, and yield how many decays each committed chunk fired.

        It looks at *should_stop* after each chunk and each job, so what is begun is done.
        """
        for chunk in fire_due(self.until, using=self.using):
            self.fired += chunk.fired
            self.held += len(chunk.held)
            self.failures += chunk.failures.values()
            self.failed_hooks += chunk.failed_hooks
            yield chunk.fired
            if should_stop():
                self.is_stopped = True
                return
        for run in run_jobs(using=self.using):
            self.jobs += 1
            if run.error:
                self.failed_jobs.append(f"The periodic job {run.name!r} failed:\n{run.error}")
            if should_stop():
                self.is_stopped = True
                return

    def errors(self) -> list[str]:
        """Return what went wrong, for people."""
        failed, hooks = len(self.failures), len(self.failed_hooks)
        found = []
        if failed:
            title = f"{decays(failed)} could not be fired; the others were:"
            found.append(_message(title, self.failures))
        if hooks:
            title = f"{hooks:,} of the hooks of on_commit failed, and will not run again:"
            found.append(_message(title, self.failed_hooks))
        return [*found, *self.failed_jobs]


def run_schedule(*, using: str = "default") -> str:
    """Run the schedule once: fire what is due, run the periodic jobs, sequencing and folding too.

    What ``manage.py run_periodic_schedule`` does, for task runners. Runs may overlap: they share
    the decays, and a job has one run per period.

    Args:
        using: The alias of the database.

    Returns:
        What it did, such as ``"2 decays happened, 1 periodic job ran."``

    Raises:
        ScheduleFailed: If a decay, a hook of ``on_commit`` or a job failed, once all others are
            done; it says which.
    """
    run = Run(conf.now(using), using)
    for _ in run.go():
        pass
    if errors := run.errors():
        raise ScheduleFailed("\n".join(errors))
    jobs = f"{run.jobs:,} periodic job{'' if run.jobs == 1 else 's'}"
    return f"{decays(run.fired)} happened, {jobs} ran."


def decays(number: int) -> str:
    """Return so many decays, in words."""
    return f"{number:,} decay{'' if number == 1 else 's'}"


def _message(title: str, failures: Sequence[object]) -> str:
    lines = [title]
    lines += [f"  {failure}" for failure in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  ... and {len(failures) - SHOWN:,} more.")
    return "\n".join(lines)

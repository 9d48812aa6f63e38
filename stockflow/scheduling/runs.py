"""Running the periodic jobs: each period once, one run of a job at a time, each run recorded."""

import logging
import traceback
from collections.abc import Iterator
from datetime import datetime

from django.db import IntegrityError, models, transaction

from stockflow import conf
from stockflow.domain.instants import from_micros, to_micros
from stockflow.scheduling.periodic import JOBS, Job
from stockflow.tables import PeriodicRun
from stockflow.texts import storable

logger = logging.getLogger(__name__)


def run_jobs(*, using: str = "default") -> Iterator[PeriodicRun]:
    """Run each job whose period has no run yet, and yield what came of it."""
    for job in list(JOBS.values()):
        yield from _run_job(job, using)


def next_start(*, using: str = "default") -> datetime | None:
    """Return when the next period of some job begins; None if none does."""
    now = conf.now(using)
    currents = ((job, job.rhythm.current(now)) for job in JOBS.values())
    starts = (job.rhythm.following(start) for job, start in currents if start is not None)
    return min((start for start in starts if start is not None), default=None)


def _run_job(job: Job, using: str) -> Iterator[PeriodicRun]:
    runs = PeriodicRun.objects.using(using).filter(name=job.name)
    last = runs.aggregate(last=models.Max("period"))["last"]
    since = None if last is None else from_micros(last)
    for start in job.starts(since, conf.now(using)):
        run = _claim(job, start, using)
        if run is None:  # it runs already, here or elsewhere
            return
        _run(job, run, start, using)
        yield run


def _claim(job: Job, start: datetime, using: str) -> PeriodicRun | None:
    """Write down that the run begins; None if it has begun, or another one has not ended."""
    now = conf.now(using)
    runs = PeriodicRun.objects.using(using)
    dead = runs.filter(name=job.name, ended_at=None, started_at__lt=to_micros(now - job.at_most))
    dead.update(
        ended_at=to_micros(now), error=f"It did not end within {job.at_most}: taken for dead."
    )
    try:
        with transaction.atomic(using=using):
            return runs.create(name=job.name, period=to_micros(start), started_at=to_micros(now))
    except IntegrityError:
        return None


def _run(job: Job, run: PeriodicRun, start: datetime, using: str) -> None:
    try:
        result = job.call(start, using)
        run.result = "" if result is None else storable(str(result))
    except Exception:
        run.error = storable(traceback.format_exc())
        logger.exception("stockflow: the periodic job %r failed", job.name)
    except BaseException as error:
        run.error = f"Interrupted: {type(error).__name__}"
        raise
    finally:
        run.ended_at = to_micros(conf.now(using))
        open_runs = PeriodicRun.objects.using(using).filter(id=run.id, ended_at=None)
        open_runs.update(ended_at=run.ended_at, result=run.result, error=run.error)

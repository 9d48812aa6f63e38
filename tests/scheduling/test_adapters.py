"""Task runners run the schedule, each shown by the real one in a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time as real_time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection

from stockflow.errors import ScheduleFailed
from stockflow.models import Event, PeriodicRun, Position
from stockflow.projections.models import Generation
from stockflow.scheduling import register
from stockflow.scheduling.periodic import JOBS
from stockflow.scheduling.running import run_schedule
from stockflow.testing import Clock
from tests.crm.models import Chain, Lead
from tests.stockflow.reading import assert_whole, trail

ROOT = Path(__file__).parents[2]
MOVES = ["moved hot>warm", "moved warm>cold"]


def name() -> str:
    """Return the name of the test's database."""
    return str(connection.settings_dict["NAME"])


def run(runner: str) -> str:
    """Run a runner until nothing waits; what it printed."""
    command = [sys.executable, "-m", "tests.scheduling.runners", name(), runner]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def assert_done(lead: Lead) -> None:
    """Its decays happened, the jobs ran, and the log is sequenced and folded."""
    lead.refresh_from_db()
    assert trail(lead)[1:] == MOVES
    assert_whole(lead)
    runs = {run.name: (run.error, run.ended_at) for run in PeriodicRun.objects.all()}
    assert {"stockflow.sequence", "stockflow.project"} <= runs.keys()
    assert all(error == "" and ended_at for error, ended_at in runs.values())
    assert Position.objects.count() == Event.objects.count() == folded_until()


def folded_until() -> int:
    """Return the checkpoint of the counts that serve."""
    serving = Generation.objects.filter(status="serving").values_list("position", flat=True)
    return max(serving, default=0)


@pytest.fixture(name="jobs")
def _jobs() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = dict(JOBS)
    yield
    JOBS.clear()
    JOBS.update(before)


@pytest.mark.django_db(transaction=True)
def test_one_run(time: Clock) -> None:
    """All that is due, and all jobs; it says how many."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=100))
    said = run_schedule()

    assert said.startswith("2 decays happened, ")
    assert said.endswith(f"{len(JOBS)} periodic jobs ran.")
    assert_done(lead)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("jobs")
def test_a_run_in_which_something_fails(time: Clock) -> None:
    """All others are done, and then it fails with what failed."""
    lead = Lead.objects.create()
    broken = Chain.objects.create(is_broken=True)

    def job() -> None:
        raise ValueError("no luck")

    register("daily", job, name="luckless")
    time.advance(timedelta(days=100))
    with pytest.raises(ScheduleFailed, match=r"(?s)1 decay could .*broken.*'luckless'.*no luck"):
        run_schedule()

    assert trail(broken) == ["entered >a"]
    assert trail(lead)[1:] == MOVES


@pytest.mark.django_db(transaction=True)
def test_django_tasks(time: Clock) -> None:
    """Enqueued twice, run by a worker of the database backend: the second one has nothing to do."""
    from stockflow.scheduling.tasks import run_schedule as task

    lead = Lead.objects.create()
    results = [task.enqueue(), task.enqueue(using="default")]
    run("django-tasks")
    for result in results:
        result.refresh()

    assert results[0].return_value.startswith("2 decays happened, ")
    assert results[1].return_value.startswith("0 decays happened, ")
    assert_done(lead)


@pytest.mark.django_db(transaction=True)
def test_procrastinate(time: Clock) -> None:
    """As SCHEDULE.md says, with a worker that runs until nothing waits."""
    if connection.vendor != "postgresql":
        pytest.skip("procrastinate is of PostgreSQL")
    lead = Lead.objects.create()
    said = run("procrastinate")

    assert set(re.findall(r"todo|doing|succeeded|failed", said.lower())) == {"succeeded"}
    assert_done(lead)


def has_redis() -> bool:
    """Whether a Redis answers."""
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.django_db(transaction=True)
def test_celery(time: Clock, tmp_path: Path) -> None:
    """A worker with its beat, over Redis, fires and folds until it is told to stop."""
    if not has_redis():
        pytest.skip("no Redis answers on 127.0.0.1:6379: start one to test Celery")
    lead = Lead.objects.create()
    queue = f"stockflow-{uuid4()}"
    words = [
        "-A",
        "tests.scheduling.celery_app",
        "worker",
        "-B",
        "-s",
        str(tmp_path / "beat"),
        "-c1",
    ]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", *words, *quiet],
        cwd=ROOT,
        env={**os.environ, "STOCKFLOW_TEST_DATABASE": name(), "STOCKFLOW_TEST_QUEUE": queue},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for _ in range(600):
            if folded_until() == 3 and len(trail(lead)) > 1:
                break
            real_time.sleep(0.1)
        real_time.sleep(1.5)  # a second run, which has nothing to do
        os.kill(worker.pid, signal.SIGTERM)
        said, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()

    assert "2 decays happened, " in said, said
    assert "ERROR" not in said
    assert worker.returncode == 0
    assert_done(lead)


def test_the_celery_task_fails_with_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Celery's own monitoring shows it."""
    from stockflow.scheduling import running
    from stockflow.scheduling.celery import run_schedule as task

    def fail(using: str) -> str:
        raise ScheduleFailed(f"nothing works in {using}")

    monkeypatch.setattr(running, "run_schedule", fail)
    result = task.apply(kwargs={"using": "archive"})

    assert (result.state, str(result.result)) == ("FAILURE", "nothing works in archive")

"""An event that cannot be folded: stopped at, parked with what follows, or skipped, as declared."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.test import Client

from stockflow.domain.events import StockEvent
from stockflow.models import Event, PeriodicRun
from stockflow.projections import (
    Batch,
    EventProjection,
    Reads,
    attempts,
    base,
    checkpoints,
    parking,
    runner,
)
from stockflow.projections.base import OnError
from stockflow.projections.folding import ProjectionStopped
from stockflow.projections.models import Generation, ParkedEvent
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import sequence
from tests.crm.models import Journey, Step
from tests.projections import histories, own

pytestmark = pytest.mark.django_db
BAD, GOOD = UUID(int=1), UUID(int=2)
NAME = own.Journeys.name


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {})
    monkeypatch.setattr(own.Journeys, "poisoned", {(str(BAD), 2)})
    own.register()


def log() -> list[Event]:
    """Write two lives in turn; the second event of the first is poisoned."""
    events = [
        histories.event(lead, version, histories.START, kind=kind, source=source, target=target)
        for version, kind, source, target in [
            (1, "entered", None, "hot"),
            (2, "moved", "hot", "warm"),
            (3, "moved", "warm", "won"),
        ]
        for lead in (BAD, GOOD)
    ]
    Event._default_manager.bulk_create(events)
    sequence()
    return events


def position() -> int:
    """Return the checkpoint of the generation that serves, or of the one that is built."""
    found = checkpoints.serving(NAME, using="default") or checkpoints.building(
        NAME, using="default"
    )
    assert found is not None
    return found.position


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_park(batch: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is set aside with all later events of its object; those of others are folded."""
    log()
    with caplog.at_level(logging.ERROR):
        list(runner.project(names=[NAME], batch_size=batch))
    parked = ParkedEvent.objects.order_by("position").values_list("position", "error")

    assert own.journeys_served() == {str(BAD): "hot>", str(GOOD): "hot>warm>won>"}
    assert list(parked) == [(3, "ValueError: poisoned"), (5, "")]
    assert position() == 6
    event = ParkedEvent.objects.get(position=3).event
    assert caplog.messages == [
        f"stockflow: the projection {NAME!r} parked position 3 (event {event}): ValueError: poisoned"
    ]


def test_later_events_of_a_parked_object_wait() -> None:
    """Those of a later batch too, so that none overtakes the one that is parked."""
    log()
    list(runner.project(names=[NAME], batch_size=4))
    later = histories.event(BAD, 4, histories.START, kind="left", source="won", target=None)
    Event._default_manager.bulk_create([later])
    sequence()
    list(runner.project(names=[NAME]))

    assert own.journeys_served()[str(BAD)] == "hot>"
    assert list(ParkedEvent.objects.order_by("position").values_list("position", flat=True)) == [
        *(3, 5, 7)
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_none_overtakes_while_others_are_parked(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """One object is parked from before; another one is now, and has more in the same batch."""
    monkeypatch.setattr(own.Journeys, "poisoned", {(str(BAD), 1), (str(GOOD), 2)})
    events = log()
    list(runner.project(names=[NAME], batch_size=batch))
    parked = ParkedEvent.objects.order_by("position").values_list("position", "error")
    error = "ValueError: poisoned"
    found = list(parked)
    served = own.journeys_served()
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    done = parking.release(ParkedEvent.objects.all())

    assert found == [(1, error), (3, ""), (4, error), (5, ""), (6, "")]
    assert (served, done) == ({str(GOOD): "hot>"}, (5, 0))
    assert own.journeys_served() == own.journeys(events)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("on_error", ["stop", "park"])
def test_an_error_that_no_database_could_keep(
    monkeypatch: pytest.MonkeyPatch, on_error: OnError
) -> None:
    """NUL and half a pair of UTF-16 are written down escaped."""
    log()
    monkeypatch.setattr(own.Journeys, "on_error", on_error)
    texts = {"text": "nul \x00"}

    def process(self: own.Journeys, event: StockEvent, batch: Batch) -> None:
        raise ValueError(texts["text"])

    monkeypatch.setattr(own.Journeys, "process_event", process)
    parked = ParkedEvent.objects.exclude(error="").values_list("error", flat=True)
    list(run_jobs())
    before = set(parked.all())
    texts["text"] = "half \udcff"
    parking.release(ParkedEvent.objects.all())
    run = PeriodicRun.objects.get(name="stockflow.project")

    assert run.ended_at is not None
    assert ("ValueError: nul \\0" in run.error) == (on_error == "stop")
    assert before == ({"ValueError: nul \\0"} if on_error == "park" else set())
    assert set(parked.all()) == ({"ValueError: half \\udcff"} if on_error == "park" else set())


def test_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mended and released, they are folded in order, and nothing is lost or doubled."""
    events = log()
    list(runner.project(names=[NAME], batch_size=2))
    still = parking.release(ParkedEvent.objects.all())
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    done = parking.release(ParkedEvent.objects.filter(position=5))

    assert (still, done) == ((0, 2), (2, 0))
    assert own.journeys_served() == own.journeys(events)
    assert not ParkedEvent.objects.exists()


def test_a_replay_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation has its own parked events: they go with it."""
    events = log()
    list(runner.project(names=[NAME]))
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    list(runner.rebuild(names=[NAME]))

    assert own.journeys_served() == own.journeys(events)
    assert not ParkedEvent.objects.exists()


def test_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out, and what follows is folded."""
    log()
    monkeypatch.setattr(own.Journeys, "on_error", "skip")
    list(runner.project(names=[NAME]))

    assert own.journeys_served() == {str(BAD): "hot>won>", str(GOOD): "hot>warm>won>"}
    assert not ParkedEvent.objects.exists()


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_stop(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """What is before it is folded, it and what follows is not, until it can be."""
    events = log()
    monkeypatch.setattr(own.Journeys, "on_error", "stop")
    for _ in range(2):
        with pytest.raises(ProjectionStopped) as caught:
            list(runner.project(names=[NAME], batch_size=batch))
    stopped_at, rows = position(), dict(Journey.objects.values_list("lifecycle", "states"))
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    list(runner.project(names=[NAME], batch_size=batch))
    event = Event._default_manager.get(originator=str(BAD), version=2)

    assert (stopped_at, rows) == (2, {str(BAD): "hot>", str(GOOD): "hot>"})
    assert str(caught.value) == (
        f"Projection 'tests.journeys' stopped at position 3 (event {event.pk} of "
        f"crm.lead.temperature, lifecycle {BAD}): ValueError: poisoned. Mend it and run manage.py "
        "stockflow project tests.journeys; or let it go on, with on_error = 'park' or 'skip'."
    )
    assert isinstance(caught.value.__cause__, ValueError)
    assert own.journeys_served() == own.journeys(events)


class Firsts(EventProjection):
    """Each state that leads came to, once: of a second one the error is caught."""

    name = "tests.firsts"
    read_models = [Journey]
    reads = Reads(models=["crm.Lead"])
    on_error: ClassVar[OnError] = "skip"
    guard: ClassVar[Callable[..., AbstractContextManager[Any]]] = transaction.atomic

    def process_event(self, event: StockEvent, batch: Batch) -> None:
        try:
            with type(self).guard(using=batch.using):
                Journey.objects.create(generation=batch.generation, lifecycle=str(event.target))
        except IntegrityError:
            pass  # it is there already


def unguarded(**words: Any) -> AbstractContextManager[Any]:
    """Catch it in the transaction of the batch."""
    return nullcontext()


@pytest.mark.parametrize("on_error", ["stop", "park", "skip"])
def test_a_caught_error_of_the_database(
    monkeypatch: pytest.MonkeyPatch, on_error: OnError, caplog: pytest.LogCaptureFixture
) -> None:
    """Django undoes with it what else was folded: the event counts as failed, the others are kept."""
    log()
    monkeypatch.setattr(Firsts, "on_error", on_error)
    monkeypatch.setattr(Firsts, "guard", unguarded)
    base.register_projection(Firsts)
    with pytest.raises(ProjectionStopped) if on_error == "stop" else nullcontext() as stopped:
        list(runner.project(names=["tests.firsts"]))
    told = stopped.value.why if stopped else caplog.text
    rows = set(Journey.objects.values_list("lifecycle", flat=True))
    done = parking.release(ParkedEvent.objects.all())

    assert "TransactionManagementError: an error of the database was caught" in told
    assert rows == ({"hot"} if on_error == "stop" else {"hot", "warm", "won"})
    assert done == ((0, 3) if on_error == "park" else (0, 0))
    assert ParkedEvent.objects.count() == done.parked


def test_an_error_that_a_savepoint_undoes() -> None:
    """Caught around atomic(), it undoes nothing else."""
    log()
    base.register_projection(Firsts)
    list(runner.project(names=["tests.firsts"]))

    assert set(Journey.objects.values_list("lifecycle", flat=True)) == {"hot", "warm", "won"}
    assert not ParkedEvent.objects.exists()


def test_the_database_is_no_event_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock or a lost connection parks nothing: the batch is tried again as it is."""
    log()

    def fails(*args: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(own.Journeys, "handle", fails)
        with pytest.raises(OperationalError):
            list(runner.project(names=[NAME]))
    untouched = position(), ParkedEvent.objects.count()
    list(runner.project(names=[NAME]))

    assert untouched == (0, 0)
    assert position() == 6


STATEMENTS = {
    "sqlite": [
        ("SELECT json_extract('no json', '$')", False),
        ("SELECT 1 FROM nowhere", False),
        ("DELETE FROM crm_journey", True),  # while only queries are allowed
    ],
    "postgresql": [
        (f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$", is_of_the_database)
        for code, is_of_the_database in [
            *(("54000", False), ("22012", False), ("23505", False), ("55000", False)),
            *(("08006", True), ("40P01", True), ("53100", True), ("55P03", True)),
            *(("57014", True), ("58030", True)),
        ]
    ],
}


def test_errors_of_the_database_by_code() -> None:
    """Django calls a lock and a statement of the event's own by one class."""
    found: list[tuple[str, bool]] = []
    with connection.cursor() as cursor:
        try:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA query_only = 1")
            for statement, _ in STATEMENTS[connection.vendor]:
                with pytest.raises(DatabaseError) as caught, transaction.atomic():
                    cursor.execute(statement)
                found.append((statement, attempts.is_of_the_database(caught.value)))
        finally:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA query_only = 0")

    assert found == STATEMENTS[connection.vendor]


@pytest.mark.parametrize("on_error", ["stop", "park", "skip"])
def test_an_event_that_the_database_cannot_compute(
    monkeypatch: pytest.MonkeyPatch, on_error: OnError
) -> None:
    """It is the event's fault, though Django calls it an OperationalError."""
    log()
    monkeypatch.setattr(own.Journeys, "on_error", on_error)
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    handled = own.Journeys.process_event

    def process(self: own.Journeys, event: StockEvent, batch: Batch) -> None:
        handled(self, event, batch)
        if (event.originator_id, event.originator_version) == (str(BAD), 2):
            with connection.cursor() as cursor:
                cursor.execute(STATEMENTS[connection.vendor][0][0])

    monkeypatch.setattr(own.Journeys, "process_event", process)
    with pytest.raises(ProjectionStopped) if on_error == "stop" else nullcontext():
        list(runner.project(names=[NAME]))
    states = dict(Journey.objects.values_list("lifecycle", "states"))

    assert states[str(BAD)] == ("hot>won>" if on_error == "skip" else "hot>")
    assert states[str(GOOD)] == ("hot>" if on_error == "stop" else "hot>warm>won>")


class Steps(EventProjection):
    """Rows that refer to others: of the second event of the first life, to none."""

    name = "tests.steps"
    read_models = [Step, Journey]
    reads = Reads(models=["crm.Lead"])
    gone: ClassVar[bool] = True

    def process_event(self, event: StockEvent, batch: Batch) -> None:
        journey, _ = batch.rows(Journey).get_or_create(
            generation=batch.generation, lifecycle=event.originator_id
        )
        is_gone = self.gone and (event.originator_id, event.originator_version) == (str(BAD), 2)
        Step.objects.create(
            generation=batch.generation,
            journey_id=0 if is_gone else journey.pk,
            state=str(event.target),
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("on_error", "states"),
    [
        ("stop", ["hot", "hot"]),
        ("park", ["hot", "hot", "warm", "won"]),
        ("skip", ["hot", "hot", "warm", "won", "won"]),
    ],
)
def test_a_constraint_that_is_left_to_commit(
    monkeypatch: pytest.MonkeyPatch, on_error: OnError, states: list[str]
) -> None:
    """COMMIT does not say of which event it is: it is found all the same, and others go on."""
    log()
    monkeypatch.setattr(Steps, "on_error", on_error)
    base.register_projection(Steps)
    with pytest.raises(ProjectionStopped) if on_error == "stop" else nullcontext():
        list(runner.project(names=[Steps.name]))
    folded = sorted(Step.objects.values_list("state", flat=True))
    still = parking.release(ParkedEvent.objects.all())
    monkeypatch.setattr(Steps, "gone", False)
    done = parking.release(ParkedEvent.objects.all())

    assert folded == states
    assert (still, done) == (((0, 2), (2, 0)) if on_error == "park" else ((0, 0), (0, 0)))


@pytest.mark.django_db(transaction=True)
def test_one_that_stops_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The periodic job folds all others, and its run says which stopped."""
    events = log()
    monkeypatch.setattr(own.Journeys, "on_error", "stop")
    monkeypatch.setattr(base, "installed", dict(reversed(base.installed.items())))
    list(run_jobs())
    run = PeriodicRun.objects.get(name="stockflow.project")

    assert "'tests.journeys' stopped at position 3" in run.error
    assert own.channel_days_served() == own.channel_days(events, "UTC")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fold", [runner.fold_all, lambda: call_command("stockflow", "project")])
def test_no_error_holds_up_others(
    monkeypatch: pytest.MonkeyPatch, fold: Callable[[], object]
) -> None:
    """A lock that one meets is raised after the others were folded."""
    events = log()

    def fails(*args: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(own.Journeys, "handle", fails)
    monkeypatch.setattr(base, "installed", dict(reversed(base.installed.items())))
    with pytest.raises(OperationalError, match="database is locked"):
        fold()

    assert next(iter(base.installed)) == NAME
    assert own.channel_days_served() == own.channel_days(events, "UTC")


def test_the_command_says_who_stopped(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """`project` folds the others, `replay` leaves the old generation in place."""
    log()
    monkeypatch.setattr(own.Journeys, "on_error", "stop")
    for word in ("project", "replay"):
        with pytest.raises(CommandError, match=r"'tests.journeys' stopped at position 3"):
            call_command("stockflow", word)

    assert "Folded 6 positions into tests.channel_days." in capsys.readouterr().out
    assert checkpoints.serving(NAME, using="default") is None


def test_the_command_shows_and_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """`parked` names position, object and error; `--release` folds them."""
    log()
    list(runner.project(names=[NAME]))
    shown, released = StringIO(), StringIO()
    call_command("stockflow", "parked", NAME, stdout=shown)
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    call_command("stockflow", "parked", "--release", "--lifecycle", str(BAD), stdout=released)

    assert shown.getvalue().splitlines() == [
        f"tests.journeys, position 3 of {BAD}: ValueError: poisoned",
        f"tests.journeys, position 5 of {BAD}: waits behind an earlier one",
        "2 events are parked.",
    ]
    assert released.getvalue() == "Folded 2 parked events; 0 are parked still.\n"
    with pytest.raises(CommandError, match="There is no projection 'x'"):
        call_command("stockflow", "parked", "x")


def test_the_admin_shows_and_releases(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may change parked events releases them; who may only look is not offered it."""
    from django.contrib.auth.models import Permission

    log()
    list(runner.project(names=[NAME]))
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    user = User.objects.create(username="ann", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_parkedevent", "view_generation"])
    )
    client.force_login(user)
    address = "/admin/stockflow_projections/parkedevent/"
    data = {"action": "release", "_selected_action": [ParkedEvent.objects.get(position=5).pk]}
    listed = client.get(address).content.decode()
    client.post(address, data)
    refused = ParkedEvent.objects.count()
    user.user_permissions.add(Permission.objects.get(codename="change_parkedevent"))
    told = client.post(address, data, follow=True).content.decode()

    assert "ValueError: poisoned" in listed
    assert "Release the objects" not in listed
    assert refused == 2
    assert "Folded 2 parked events; 0 are parked still." in told
    assert not ParkedEvent.objects.exists()
    assert NAME in client.get("/admin/stockflow_projections/generation/").content.decode()


def test_nothing_is_released_into_rows_of_another_version(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not added to by new code: command and admin say what to do."""
    log()
    list(runner.project(names=[NAME]))
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    monkeypatch.setattr(own.Journeys, "version", 2)
    text = "What is parked of tests.journeys belongs to rows of another version than the code's"
    with pytest.raises(CommandError, match=text):
        call_command("stockflow", "parked", "--release")
    client.force_login(User.objects.create_superuser("ann"))
    data = {"action": "release", "_selected_action": [ParkedEvent.objects.get(position=5).pk]}
    address = "/admin/stockflow_projections/parkedevent/"
    told = client.post(address, data, follow=True).content.decode()

    assert "What is parked of tests.journeys" in told
    assert ParkedEvent.objects.count() == 2
    assert own.journeys_served()[str(BAD)] == "hot>"


def test_what_is_parked_of_a_projection_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says so."""
    log()
    list(runner.project(names=[NAME]))
    monkeypatch.delitem(base.installed, NAME)

    with pytest.raises(CommandError, match=r"There is no projection 'tests.journeys'"):
        call_command("stockflow", "parked", "--release")


def test_what_is_parked_of_a_generation_that_is_gone() -> None:
    """Nothing is folded for a generation that was dropped."""
    log()
    list(runner.project(names=[NAME]))
    Generation.objects.all().delete()

    assert parking.release(ParkedEvent.objects.all()) == (0, 0)

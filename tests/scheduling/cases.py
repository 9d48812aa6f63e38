"""What holds of decays in whichever way they come to happen: one suite, inherited once for each."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from stockflow import context
from stockflow.domain.instants import MICROSECOND
from stockflow.models import Event, ScheduledTransition
from stockflow.moments import SCHEDULE
from stockflow.scheduling import decays
from stockflow.scheduling.decays import fire_due
from stockflow.scheduling.outcomes import Chunk
from stockflow.settling import settle
from stockflow.testing import Clock
from tests.crm.models import Fading, Lamp, Lease
from tests.scheduling.ways import InMemory, Way
from tests.stockflow.reading import assert_whole, events_of, micros, timers_of, trail

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
ROW_LOCKS = pytest.mark.skipif(
    "not connection.features.has_select_for_update_skip_locked",
    reason="SQLite has one writer at a time",
)


def assert_all_whole(*models: type[Any]) -> None:
    """Rows, events and timers of all objects agree."""
    for model in models:
        for each in model.objects.all():
            assert_whole(each)


class Cases:
    """The suite; each way inherits it.

    Attributes:
        kind: The way.
    """

    kind: ClassVar[type[Way]]

    @pytest.fixture(name="way", autouse=True)
    def _way(self) -> Iterator[Way]:
        """The way to fire, and no other."""
        with self.kind().forced() as way:
            yield way

    @pytest.fixture(name="fire")
    def _fire(self, way: Way) -> Iterator[Callable[[int], int]]:
        """Lets happen what is due; the way must have been gone in the end."""
        yield way.fire
        assert way.gone, f"{self.kind.__name__} was not used"

    @pytest.fixture(name="gate")
    def _gate(self, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
        """What happens after the worker has chosen its timers, and before it locks their objects."""
        if self.kind is InMemory:
            pytest.skip("who calls a method has chosen no timers before")
        acts: list[Callable[[], None]] = []
        real = decays.next_page

        def next_page(*args: Any, **kwargs: Any) -> Any:
            page = real(*args, **kwargs)
            while page and acts:
                acts.pop()()
            return page

        monkeypatch.setattr(decays, "next_page", next_page)
        return acts


class DecayCases(Cases):
    """What needs no transactions of its own."""

    def test_due_in_the_past(self, fire: Callable[[int], int], time: Clock) -> None:
        """Event, row and timer say the due instant, to the microsecond, however late it is."""
        time.advance(123 * MICROSECOND)
        lamps = [Lamp.objects.create(kind=kind) for kind in "ab"]
        time.advance(timedelta(microseconds=1000))
        lamps += [Lamp.objects.create()]
        due = [lamp.phase_due_at for lamp in lamps]
        time.advance(1000 * DAY)

        assert fire(3) == 3
        for lamp, at in zip(lamps, due, strict=True):
            lamp.refresh_from_db()
            assert (lamp.phase, lamp.phase_since, lamp.phase_due_at) == ("off", at, None)
            assert lamp.stock_changed_at == at
            assert_whole(lamp)
        events = Event.objects.filter(kind="moved").values_list("occurred_at", "actor")
        assert sorted(events) == sorted((micros(at), SCHEDULE) for at in due)

    def test_never_early(self, fire: Callable[[int], int], time: Clock) -> None:
        """Not a microsecond; at the instant itself it happens."""
        lamp = Lamp.objects.create()
        time.move_to((lamp.phase_due_at or time.at) - MICROSECOND)
        early = fire(1)
        time.advance(MICROSECOND)

        assert (early, fire(1), fire(1)) == (0, 1, 0)
        assert trail(lamp)[1:] == ["moved on>off"]

    def test_the_cause_is_the_timer(self, fire: Callable[[int], int], time: Clock) -> None:
        """The event names the version that set the clock, and the due instant; chained ones too."""
        fading, lamp = Fading.objects.create(), Lamp.objects.create()
        fading.renew()
        fading.save()
        fading.kind = "b"  # an event that leaves the timer as it is
        fading.save()
        start = time.at
        time.advance(4 * DAY)
        fired = fire(1)
        told = [
            (entry.version, entry.clock_version, entry.due_at and (entry.due_at - start) // HOUR)
            for entry in (*fading.stock_history(), *lamp.stock_history())
        ]

        assert fired == 3
        assert told == [
            *[(1, None, None), (2, None, None), (3, None, None), (4, 2, 24), (5, 4, 72)],
            *[(1, None, None), (2, 1, 1)],
        ]
        causes = Event.objects.filter(originator=fading.stock_lifecycle, actor=SCHEDULE)
        first = causes.earliest("version").payload or b""
        due_at = micros(start + DAY)
        assert bytes(first) == b'{"cause":{"due_at":%d,"version":2}}' % due_at

    def test_left_just_before(self, fire: Callable[[int], int], time: Clock) -> None:
        """A microsecond before it was due: nothing of it is left. Another one happens."""
        kept, other, start = Fading.objects.create(), Fading.objects.create(), time.at
        time.move_to(start + DAY - MICROSECOND)
        kept.keep()
        kept.save()
        time.advance(HOUR)

        assert timers_of(kept) == {}
        assert fire(1) == 1
        assert trail(kept)[1:] == ["moved fresh>kept"]
        assert trail(other)[1:] == ["moved fresh>stale"]
        assert_all_whole(Fading)

    def test_left_and_entered_again(self, fire: Callable[[int], int], time: Clock) -> None:
        """The clock counts from the new entry; the old timer fires nothing."""
        fading, start = Fading.objects.create(), time.at
        time.move_to(start + 20 * HOUR)
        fading.keep()
        fading.renew()
        fading.save()
        time.move_to(start + 43 * HOUR)
        early = fire(1)
        time.move_to(start + 44 * HOUR)

        assert (early, fire(1)) == (0, 1)
        fading.refresh_from_db()
        assert (fading.state, fading.state_since) == ("stale", start + 44 * HOUR)
        assert_whole(fading)

    def test_left_while_a_worker_has_its_timer(
        self, gate: list[Callable[[], None]], fire: Callable[[int], int], time: Clock
    ) -> None:
        """What was chosen is asked again once its object is locked."""
        kept, renewed, other = (Fading.objects.create() for _ in range(3))
        time.advance(DAY)

        def act() -> None:
            with context(at=time.at):  # at a due instant what is called wins
                kept.keep()
                kept.save()
                renewed.renew()
                renewed.save()

        gate.append(act)

        assert fire(3) == 1
        assert trail(kept)[1:] == ["moved fresh>kept"]
        assert trail(renewed)[1:] == ["moved fresh>fresh"]
        assert trail(other)[1:] == ["moved fresh>stale"]
        assert_all_whole(Fading)

    @pytest.mark.parametrize("name", ["parked_at", "retry_at"])
    def test_set_aside_while_a_worker_has_its_timer(
        self, name: str, gate: list[Callable[[], None]], fire: Callable[[int], int], time: Clock
    ) -> None:
        """It stays so until it is released, or its time has come."""
        lamp, other = Lamp.objects.create(), Lamp.objects.create()
        time.advance(2 * HOUR)
        timers = ScheduledTransition.objects.filter(lifecycle=lamp.stock_lifecycle)
        gate.append(lambda: assert_one(timers.update(**{name: micros(time.at + DAY)})))

        assert (fire(2), fire(2)) == (1, 0)
        assert trail(lamp)[1:] == []
        assert trail(other)[1:] == ["moved on>off"]

    def test_a_timer_that_is_not_what_its_row_says(
        self, fire: Callable[[int], int], time: Clock
    ) -> None:
        """The row decides when it is due; the timer is put right, and the others happen."""
        lamps = [Lamp.objects.create() for _ in range(3)]
        due = lamps[0].phase_due_at
        timers = ScheduledTransition.objects.filter(lifecycle=lamps[0].stock_lifecycle)
        timers.update(due_at=micros(time.at + timedelta(minutes=1)))
        time.advance(2 * HOUR)

        assert fire(3) + fire(3) == 3
        lamps[0].refresh_from_db()
        assert lamps[0].phase_since == due
        assert_all_whole(Lamp)

    @pytest.mark.parametrize("hours", [1, 12, 24 * 365], ids=["hourly", "twice-a-day", "once"])
    @pytest.mark.parametrize("size", [1, 3, 500])
    def test_a_chain_is_the_same_at_any_speed(
        self, hours: int, size: int, way: Way, time: Clock
    ) -> None:
        """Three decays, downtime longer than all, a user in between: the same spells each time."""
        start, days = time.at, 12
        fadings = [Fading.objects.create() for _ in range(3)]
        for hour in range(1, days * 24 + 1):
            time.move_to(start + hour * HOUR)
            if hour % hours == 0:
                way.fire(size)
            if hour in (30, 180):  # within the second stay, and when all is over
                touched = Fading.objects.get(pk=fadings[1].pk)
                touched.renew()
                touched.save()
        while way.fire(size):
            pass
        spells = [
            [
                (event.target, ((event.occurred_at or 0) - micros(start)) // 3_600_000_000)
                for event in events_of(fading.stock_lifecycle)
            ]
            for fading in fadings
        ]

        alone = [("fresh", 0), ("stale", 24), ("old", 72), ("gone", 168)]
        again = [("fresh", 0), ("stale", 24), ("fresh", 30), ("stale", 54), ("old", 102),
                 ("fresh", 180), ("stale", 204), ("old", 252)]  # fmt: skip
        assert spells == [alone, again, alone]
        assert_all_whole(Fading)

    @pytest.mark.parametrize(
        ("entered", "ended", "cleared"),
        [
            pytest.param("2026-02-28T12:00", "2026-03-28T12:00", "2026-03-29T12:00", id="spring"),
            pytest.param("2026-02-28T02:30", "2026-03-28T02:30", "2026-03-29T03:30", id="gap"),
            pytest.param("2026-09-24T12:00", "2026-10-24T12:00", "2026-10-25T12:00", id="autumn"),
            pytest.param("2026-09-24T02:30", "2026-10-24T02:30", "2026-10-25T02:30", id="twice"),
            pytest.param("2026-01-31T12:00", "2026-02-28T12:00", "2026-03-01T12:00", id="short"),
            pytest.param("2028-01-30T00:15", "2028-02-29T00:15", "2028-03-01T00:15", id="leap"),
            pytest.param("2026-12-31T23:59", "2027-01-31T23:59", "2027-02-01T23:59", id="year"),
        ],
    )
    def test_wall_clocks_and_month_ends(
        self, entered: str, ended: str, cleared: str, way: Way, time: Clock
    ) -> None:
        """Over both changes of the clocks and the ends of months, when both are long past."""

        def berlin(text: str) -> datetime:
            return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)

        time.move_to(berlin(entered))
        lease = Lease.objects.create()
        time.advance(400 * DAY)
        fired = way.fire(10)
        instants = [event.occurred_at for event in events_of(lease.stock_lifecycle)]

        assert fired == 2
        assert instants == [micros(berlin(at)) for at in (entered, ended, cleared)]
        assert_all_whole(Lease)


def assert_one(number: int) -> None:
    """One row was changed."""
    assert number == 1


def impatient(
    act: Callable[[], object], done: threading.Event | None = None
) -> tuple[threading.Thread, list[DatabaseError]]:
    """Run *act* in a thread where waiting for a lock is an error; return what goes wrong, too."""
    errors: list[DatabaseError] = []

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
            act()
        except DatabaseError as error:
            errors.append(error)
        finally:
            if done is not None:
                done.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


class TransactionCases(Cases):
    """What commits, fails and goes on."""

    def test_one_poisoned_among_a_thousand(self, fire: Callable[[int], int], time: Clock) -> None:
        """Its log refuses the event: it fails alone, again and again, until it is parked."""
        lamps = Lamp.objects.bulk_create([Lamp() for _ in range(1000)])
        poisoned = lamps[500]
        Event.objects.create(originator=poisoned.stock_lifecycle, version=2, topic="x", payload=b"")
        time.advance(2 * HOUR)
        if self.kind is InMemory:
            poisoned.refresh_from_db()
            settle(poisoned, time.at)
            with pytest.raises(IntegrityError):
                poisoned.save()
            assert Lamp.objects.get(pk=poisoned.pk).phase == "on"
            return  # it is loaded alone, so there is nobody to hold up
        fired = fire(250)
        for _ in range(5):
            time.advance(DAY)
            assert fire(250) == 0
        timer = timers_of(poisoned)["phase"]

        assert fired == 999
        assert timer.parked_at is not None
        assert "IntegrityError" in timer.error
        assert Lamp.objects.filter(phase="off").count() == 999

    def test_two_workers(self, fire: Callable[[int], int], way: Way, time: Clock) -> None:
        """At once: each decay happens once, whoever gets it."""
        if isinstance(way, InMemory) and not connection.features.has_select_for_update:
            pytest.skip("one writer at a time: it waits for the other from its first read")
        Fading.objects.bulk_create([Fading() for _ in range(60)])
        time.advance(100 * DAY)
        fired: list[int] = []
        start = threading.Barrier(2)

        def work() -> None:
            start.wait()
            try:
                fired.append(fire(7))
            finally:
                connections.close_all()

        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert sum(fired) == 180
        assert len(fired) == 2
        assert Event.objects.filter(actor=SCHEDULE).count() == 180
        assert not ScheduledTransition.objects.exists()
        assert_all_whole(Fading)

    @ROW_LOCKS
    def test_an_object_that_is_locked_is_passed_over(self, way: Way, time: Clock) -> None:
        """The others happen, nobody waits, and it happens once it is free."""
        if isinstance(way, InMemory):
            pytest.skip("who calls a method waits for the object")
        held, *_ = lamps = [Lamp.objects.create() for _ in range(3)]
        time.advance(2 * HOUR)
        chunks, looked, freed = list[Chunk](), threading.Event(), threading.Event()

        def act() -> None:
            for chunk in fire_due(chunk_size=len(lamps)):
                chunks.append(chunk)
                looked.set()
                freed.wait(20)

        with transaction.atomic():
            Lamp.objects.select_for_update().get(pk=held.pk)
            worker, errors = impatient(act, looked)
            looked.wait(20)
            waiting = timers_of(held)
        freed.set()
        worker.join()

        assert errors == []
        assert [(chunk.fired, chunk.obsolete) for chunk in chunks] == [(2, 0), (1, 0)]
        assert chunks[0].busy == {waiting["phase"].id}
        assert_all_whole(Lamp)

    @ROW_LOCKS
    def test_timers_that_another_worker_has_are_passed_over(
        self, fire: Callable[[int], int], way: Way, time: Clock
    ) -> None:
        """Each gets its own."""
        if isinstance(way, InMemory):
            pytest.skip("who calls a method chooses no timers")
        for _ in range(4):
            Lamp.objects.create()
        time.advance(2 * HOUR)
        fired: list[int] = []
        with transaction.atomic():
            decays.next_page(None, time.at, "default", 2)
            worker, errors = impatient(lambda: fired.append(fire(2)))
            worker.join()

        assert (errors, fired) == ([], [2])
        assert fire(2) == 2
        assert_all_whole(Lamp)

    def test_a_rolled_back_firing(self, way: Way, time: Clock) -> None:
        """Leaves all as it was."""
        fading = Fading.objects.create()
        time.advance(100 * DAY)
        with transaction.atomic():
            undone = way.fire(1)
            transaction.set_rollback(True)
        left = trail(fading)

        assert (undone, left) == (3, ["entered >fresh"])
        assert way.fire(1) == 3
        assert_all_whole(Fading)

"""A changed version is replayed by itself, or fails the system check, as the setting says."""

import zoneinfo
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from stockflow.domain.instants import to_micros
from stockflow.models import Event
from stockflow.projections import Stock, base, checkpoints, flow_counts, runner
from stockflow.projections.models import Generation, Status
from stockflow.testing import clock, sequence
from tests.crm.models import Lead
from tests.projections import own
from tests.projections.histories import START, event, micros
from tests.projections.test_folding import a_life

pytestmark = pytest.mark.django_db
NAME = own.Journeys.name


@pytest.fixture(autouse=True)
def _folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {})
    own.register()
    Event._default_manager.bulk_create(a_life())
    sequence()
    list(runner.project())


def serving(name: str = NAME) -> Any:
    """Return the generation that serves."""
    return checkpoints.serving(name, using="default")


def messages() -> list[str]:
    """Return what the check of the database says."""
    return [m.msg for m in run_checks(databases=["default"]) if m.id == "stockflow.E030"]


def test_it_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run builds rows of the new version, and lets them serve."""
    old = serving()
    monkeypatch.setattr(own.Journeys, "version", 2)
    list(runner.project())

    assert (serving().version, serving().position) == (2, 2)
    assert serving() != old
    assert messages() == []


def test_it_is_left_to_a_person(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The old rows serve on and are not added to, and the check fails until `replay`."""
    settings.STOCKFLOW_REPLAY_CHANGED = False
    unchanged = messages()
    monkeypatch.setattr(own.Journeys, "version", 2)
    Event._default_manager.bulk_create(a_life())
    sequence()
    list(runner.project())
    before, told = serving(), messages()
    list(runner.rebuild())

    assert (before.version, before.position, before.status) == (1, 2, Status.SERVING)
    assert unchanged == []
    (text,) = told
    assert text == (
        "Projection 'tests.journeys' is version 2 in the code, and in the database 'default' "
        "version 1 serves."
    )
    assert (serving().version, serving().position, messages()) == (2, 4, [])


def test_the_check_tells_of_zones(settings: Any) -> None:
    """Days of another zone are other rows."""
    served = own.ChannelDays().zone()
    settings.STOCKFLOW_REPLAY_CHANGED = False
    settings.STOCKFLOW_TIME_ZONE = "Asia/Kathmandu"

    declared = own.ChannelDays().zone()

    (text,) = messages()
    assert text == (
        f"Projection 'tests.channel_days' is version 1 by days of {declared} in the code, and in "
        f"the database 'default' version 1 by days of {served} serves."
    )
    assert (served.split()[0], declared.split()[0]) == ("UTC", "Asia/Kathmandu")


def rules_from(place: str, path: Path) -> None:
    """Let the zone "Own/Zone" have the rules of a place, as an update of tzdata does."""
    (path / "Own").mkdir(exist_ok=True)
    (path / "Own/Zone").write_bytes((files("tzdata") / f"zoneinfo/{place}").read_bytes())
    ZoneInfo.clear_cache()


@pytest.fixture(name="tzpath")
def _tzpath(tmp_path: Path) -> Any:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path), *before])
    yield tmp_path
    zoneinfo.reset_tzpath(before)
    ZoneInfo.clear_cache()


def test_other_rules_of_a_zone_are_other_days(
    declared: Any, settings: Any, tzpath: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of tzdata nothing is counted by days that began at other instants."""
    monkeypatch.setitem(base.installed, flow_counts.NAME, flow_counts.FlowCounts())
    settings.STOCKFLOW_TIME_ZONE = "Own/Zone"
    rules_from("Europe/Berlin", tzpath)
    Event._default_manager.bulk_create(
        event(UUID(int=n), 1, START + timedelta(hours=n), kind="entered", source=None, target="hot")
        for n in range(72)
    )
    sequence()
    list(runner.project())
    before = serving(flow_counts.NAME), serving(own.ChannelDays.name)
    rules_from("Asia/Kathmandu", tzpath)
    log = list(Event._default_manager.all())
    entered = [micros(one) for one in log if one.target == "hot"]
    ends = [START + timedelta(hours=n, minutes=1) for n in range(0, 90, 5)]

    def wrong() -> list[Any]:
        return [
            end for end in ends if stock.count(end) != sum(at <= to_micros(end) for at in entered)
        ]

    with clock(START + timedelta(days=5)):
        stock = Stock("hot", Lead.temperature, states=["hot"])
        assert wrong() == []
        list(runner.project())
        assert wrong() == []

    assert serving(flow_counts.NAME) != before[0]
    assert serving(own.ChannelDays.name) != before[1]
    assert own.channel_days_served() == own.channel_days(log, "Asia/Kathmandu")


def test_older_code_leaves_newer_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """While both run, as in a deployment, neither builds what the other did away with."""
    monkeypatch.setattr(own.Journeys, "version", 2)
    list(runner.project())
    newer = serving()
    monkeypatch.setattr(own.Journeys, "version", 1)
    list(runner.project())

    assert serving() == newer
    assert serving().version == 2


def test_an_interrupted_build_of_another_version_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of two versions are never mixed."""
    next(runner.rebuild(names=[NAME], batch_size=1))
    begun = checkpoints.building(NAME, using="default")
    monkeypatch.setattr(own.Journeys, "version", 2)
    list(runner.project())

    assert begun is not None
    assert serving() != begun
    assert own.journeys_served() == own.journeys(Event._default_manager.order_by("pk"))


def test_another_version_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows differ for sure, and each of them would be shown."""
    monkeypatch.setattr(own.Journeys, "version", 2)

    with pytest.raises(CommandError) as caught:
        call_command("stockflow", "replay", "--check", NAME)

    assert str(caught.value) == (
        "What serves of tests.journeys is version 1, which is not what the code counts: "
        "run manage.py stockflow replay tests.journeys."
    )


def test_a_check_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that can no more be folded is told, and nothing of the comparison is left."""
    lead = Event._default_manager.earliest("pk").originator
    monkeypatch.setattr(own.Journeys, "poisoned", {(lead, 1)})
    monkeypatch.setattr(own.Journeys, "on_error", "stop")

    with pytest.raises(CommandError, match="stopped at position 1"):
        call_command("stockflow", "replay", "--check", NAME)

    assert Generation.objects.filter(projection__startswith=NAME).count() == 1

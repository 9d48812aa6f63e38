"""A changed version is replayed by itself, or fails the system check, as the setting says."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from stockflow.models import Event
from stockflow.projections import base, checkpoints, runner
from stockflow.projections.models import Generation, Status
from stockflow.testing import sequence
from tests.projections import own
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


def serving() -> Any:
    """Return the generation that serves."""
    return checkpoints.serving(NAME, using="default")


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
    settings.STOCKFLOW_REPLAY_CHANGED = False
    settings.STOCKFLOW_TIME_ZONE = "Asia/Kathmandu"

    (text,) = messages()
    assert text == (
        "Projection 'tests.channel_days' is version 1 by days of Asia/Kathmandu in the code, and in "
        "the database 'default' version 1 by days of UTC serves."
    )


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

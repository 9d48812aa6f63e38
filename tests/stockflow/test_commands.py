"""run_periodic_schedule and audit, as one types them."""

from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from stockflow import context
from stockflow.testing import Clock
from tests.crm.models import Chain, Lead, Rep
from tests.stockflow.reading import trail

pytestmark = pytest.mark.django_db


def run(*args: Any, **options: Any) -> str:
    """Call a command; what it said."""
    out = StringIO()
    call_command(*args, stdout=out, stderr=StringIO(), no_color=True, **options)
    return out.getvalue()


def test_the_schedule_says_what_it_fired(time: Clock) -> None:
    """And until when."""
    Lead.objects.create()
    time.advance(timedelta(days=100))

    assert run("run_periodic_schedule") == "Fired 2 decays due until 2026-06-11 00:00:00 UTC.\n"
    assert "Fired 0 decays" in run("run_periodic_schedule")
    assert run("run_periodic_schedule", verbosity=0) == ""


def test_until_is_inclusive(time: Clock) -> None:
    """The decay due at that instant fires."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=100))
    run("run_periodic_schedule", until="2026-03-10T00:00:00Z")

    assert trail(lead)[1:] == ["moved hot>warm"]


@pytest.mark.parametrize(
    ("until", "message"),
    [
        pytest.param(
            "2026-03-03T00:00:01Z", "lies in the future: it is 2026-03-03T00:00:00Z", id="future"
        ),
        pytest.param("2026-03-01T00:00:00", "must be timezone-aware.*For example", id="naive"),
        pytest.param("tomorrow", "is no instant: 'tomorrow'. For example", id="word"),
    ],
)
def test_until_must_be_an_instant_that_has_been(until: str, message: str) -> None:
    """Anything else is told with an example."""
    with pytest.raises(CommandError, match=message):
        run("run_periodic_schedule", until=until)


def test_held_and_failing_decays_are_told(time: Clock) -> None:
    """Held ones with the rest, failing ones as an error after it."""
    Chain.objects.create(ready=False)
    time.advance(timedelta(days=5))
    assert "Held back 1 decay whose conditions are false." in run("run_periodic_schedule")
    broken = Chain.objects.create(is_broken=True)
    time.advance(timedelta(days=5))

    with pytest.raises(CommandError) as raised:
        run("run_periodic_schedule")
    assert str(raised.value).splitlines() == [
        "1 decay could not be fired; the others were:",
        f"  crm.chain {broken.stock_lifecycle}, 'advance' of 'state': ValueError: broken",
    ]


def test_audit_tells_an_object_s_story(time: Clock, rep: Rep) -> None:
    """One line per event: when, from, to, flow, how long, who, why, what else."""
    lead = Lead.objects.create(owner=rep)
    time.advance(timedelta(days=1))
    with context(actor="ada", reason="lost it", data={"n": 1}):
        lead.lose()
    lead.save()
    text = run("stockflow", "audit", "crm.Lead", str(lead.pk))
    title, headers, _, first, second = text.splitlines()

    assert str(lead.stock_lifecycle) in title
    assert headers.split()[:2] == ["when", "(UTC)"]
    assert "(outside)" in first
    assert "1 d 00:00:00" in first
    for word in (
        "2026-03-04 00:00:00",
        "hot",
        "lost",
        "lose",
        "so far",
        "ada",
        "lost it",
        '{"n": 1}',
    ):
        assert word in second


def test_audit_of_a_deleted_object(time: Clock) -> None:
    """By its lifecycle."""
    lead = Lead.objects.create()
    lifecycle = lead.stock_lifecycle
    lead.delete()

    assert "(left)" in run("stockflow", "audit", lifecycle=str(lifecycle))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param([], "Name an object", id="nothing"),
        pytest.param(["crm.Lead"], "Name an object", id="no-key"),
        pytest.param(
            ["crm.Leed", "1"], "has no stock history. Models that have: .*crm.Lead", id="typo"
        ),
        pytest.param(["crm.Rep", "1"], "'crm.Rep' has no stock history", id="plain-model"),
        pytest.param(["crm.Lead", "x"], "'x' is no key of crm.Lead", id="no-number"),
        pytest.param(["crm.Lead", "99"], "There is no crm.Lead '99'.*--lifecycle", id="missing"),
        pytest.param(["--lifecycle", "x"], "'x' is no lifecycle", id="no-uuid"),
        pytest.param(["--lifecycle", str(uuid4())], "Nothing is recorded", id="unknown"),
    ],
)
def test_audit_of_nothing_says_what_to_give(args: list[str], message: str) -> None:
    """What, where, what to do."""
    with pytest.raises(CommandError, match=message):
        run("stockflow", "audit", *args)

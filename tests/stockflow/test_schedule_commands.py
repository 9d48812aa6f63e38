"""schedule, reschedule and release, as one types them."""

from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from django.core.management import CommandError, call_command

from stockflow import machines
from stockflow.models import ScheduledTransition
from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock, run_due
from tests.crm.models import Chain, Lead, Order, Trial
from tests.stockflow.reading import assert_whole, last_event, timers_of, trail

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def run(*args: Any, **options: Any) -> str:
    """Call a subcommand; what it said."""
    out = StringIO()
    call_command("stockflow", *args, stdout=out, stderr=StringIO(), no_color=True, **options)
    return out.getvalue()


def test_the_schedule_is_shown_by_transition_and_day(time: Clock) -> None:
    """What is overdue, due on each day, later, and parked with its error."""
    assert run("schedule") == "Nothing is scheduled.\n"
    Lead.objects.create()
    broken = Chain.objects.create(is_broken=True)
    for _ in range(5):
        time.advance(DAY)
        list(fire_due())
    Lead.objects.create()
    time.advance(2 * DAY)
    titles, _, chain, lead, backlog, parked = run("schedule", "--days", "3").splitlines()

    assert titles.split() == ["field", "transition", "03-10", "later", "parked"]
    assert chain.split() == ["crm.chain.state", "advance", "1"]
    assert lead.split() == ["crm.lead.temperature", "cool", "1", "1"]
    assert backlog == "Overdue: 0. Parked: 1."
    assert parked.startswith(f"parked: crm.chain {broken.stock_lifecycle}: advance of state, due ")
    assert parked.endswith("ValueError: broken")


def test_how_far_the_schedule_is_behind(time: Clock) -> None:
    """How many are overdue, since when, and how many wait for a person; those held back count."""
    chains = [Chain.objects.create(ready=False) for _ in range(2)]
    Lead.objects.create()
    time.advance(3 * DAY)
    list(fire_due())
    ScheduledTransition.objects.filter(lifecycle=chains[0].stock_lifecycle).update(parked_at=1)
    Lead.objects.create()
    time.advance(timedelta(days=5, hours=4))

    oldest = "the oldest since 2026-03-04 00:00:00 UTC (7 d 04:00:00)"
    assert f"Overdue: 2, {oldest}. Parked: 1.\n" in run("schedule")


def test_parked_decays_are_released(time: Clock) -> None:
    """Those chosen; they are tried again at once."""
    broken = Chain.objects.create(is_broken=True)
    for _ in range(5):
        time.advance(DAY)
        list(fire_due())
    Chain.objects.update(is_broken=False)
    others = run("release", "--model", "crm.Lead"), run("release", "--transition", "cool")
    released = run("release", "--lifecycle", str(broken.stock_lifecycle))

    assert others == ("Released 0 scheduled transitions.\n",) * 2
    assert released == "Released 1 scheduled transitions.\n"
    assert run_due() == 1


@pytest.fixture(name="delayed")
def _delayed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decays come after other delays, as the code says now."""

    def change(model: Any, name: str, transition: str, delay: Any) -> None:
        from dataclasses import replace

        machine = machines.machine_of(model, name)
        rules = [
            replace(r, delay=delay) if r.transition == transition else r for r in machine.rules
        ]
        known: dict[Any, Any] = dict(machines._machines)
        known[model, name] = replace(machine, rules=tuple(rules))
        monkeypatch.setattr(machines, "_machines", known)

    return change


@pytest.fixture(name="shorter")
def _shorter(delayed: Any) -> Any:
    """Leads cool after other delays."""
    return partial(delayed, Lead, "temperature", "cool")


def test_a_changed_delay_moves_nothing_until_told(time: Clock, shorter: Any) -> None:
    """The dry run says what would move; --apply moves it, with an event."""
    lead, start = Lead.objects.create(), time.at
    shorter(relativedelta(days=3))
    shown = run("reschedule", "crm.Lead")
    before = timers_of(lead)["temperature"].due_at
    told = run("reschedule", "crm.Lead", "--apply")
    lead.refresh_from_db()

    assert "2026-03-10 00:00:00 -> 2026-03-06 00:00:00" in shown
    assert "Would move 1 due instants.\nNothing is written: repeat with --apply." in shown
    assert before == (start + 7 * DAY).timestamp() * 1_000_000
    assert "Moved 1 due instants." in told
    assert lead.temperature_due_at == start + 3 * DAY
    assert last_event(lead).kind == "reclassified"
    assert_whole(lead)
    assert "Would move 0" in run("reschedule", "crm.Lead")


def test_what_would_have_been_due_is_due_at_once(time: Clock, shorter: Any) -> None:
    """Nothing is dated before it was known."""
    lead = Lead.objects.create()
    time.advance(5 * DAY)
    shorter(DAY)
    run("reschedule", "crm.Lead", "--apply")
    run_due()
    lead.refresh_from_db()

    assert (lead.temperature, lead.temperature_since) == ("warm", time.at)


def test_a_decay_taken_out_of_the_code_ends(time: Clock, shorter: Any) -> None:
    """And one put in begins."""
    lead, start = Lead.objects.create(), time.at
    shorter(None)
    run("reschedule", "crm.Lead", "--apply")
    ended = timers_of(lead)
    shorter(20 * DAY)
    run("reschedule", "crm.Lead", "--apply")
    lead.refresh_from_db()

    assert ended == {}
    assert lead.temperature_due_at == start + 20 * DAY
    assert_whole(lead)


def test_what_was_postponed_or_is_overdue_stays(time: Clock, shorter: Any) -> None:
    """A person's word counts for more than the code; what is due happens."""
    postponed = Lead.objects.create()
    postponed.postpone_decay("cool", to=time.at + 50 * DAY)
    postponed.save()
    overdue = Lead.objects.create()
    time.advance(8 * DAY)
    shorter(30 * DAY)
    said = run("reschedule", "crm.Lead", "--apply")

    assert "Moved 0" in said
    assert len(trail(overdue)) == 1
    assert ScheduledTransition.objects.count() == 2


def test_what_the_code_moved_once_it_moves_again(time: Clock, shorter: Any) -> None:
    """Each time to what the code says by then."""
    lead, start = Lead.objects.create(), time.at
    for days in (10, 5, 8):
        shorter(days * DAY)
        assert "Moved 1" in run("reschedule", "crm.Lead", "--apply")
        lead.refresh_from_db()
        assert lead.temperature_due_at == start + days * DAY
        assert "Would move 0" in run("reschedule", "crm.Lead")
    assert_whole(lead)


def test_what_a_field_moved_the_code_moves_too(time: Clock) -> None:
    """A value written past the instances is the field's, whatever was saved before it."""
    trial, start = Trial.objects.create(trial_days=7), time.at
    trial.trial_days = 9
    trial.save()
    Trial.objects.update(trial_days=4)
    assert "Moved 1" in run("reschedule", "crm.Trial", "--apply")
    trial.refresh_from_db()

    assert trial.state_due_at == start + 4 * DAY
    assert_whole(trial)


def test_a_kept_clock_counts_from_where_it_began(time: Clock, delayed: Any) -> None:
    """What the code leaves alone stays, even where it would be right from the last transition."""
    trial, start = Trial.objects.create(trial_days=7), time.at
    time.advance(4 * DAY)
    trial.look()
    trial.save()
    unmoved = run("reschedule", "crm.Trial", "--apply")
    delayed(Trial, "state", "end", 20 * DAY)
    run("reschedule", "crm.Trial", "--apply")
    trial.refresh_from_db()
    moved = trial.state_due_at
    delayed(Trial, "state", "end", 16 * DAY)
    run("reschedule", "crm.Trial", "--apply")
    trial.refresh_from_db()

    assert "Moved 0" in unmoved
    assert (moved, trial.state_due_at) == (start + 20 * DAY, start + 16 * DAY)
    assert_whole(trial)


def test_what_was_cancelled_stays_so_each_time(time: Clock, delayed: Any) -> None:
    """Beside a decay that the code moves."""
    trial, start = Trial.objects.create(trial_days=5, pause=20 * DAY), time.at
    trial.cancel_decay("end")
    trial.save()
    for days in (10, 15):
        delayed(Trial, "state", "nudge", days * DAY)
        run("reschedule", "crm.Trial", "--apply")
        trial.refresh_from_db()
        trial.look()
        trial.save()
        assert trial.state_due_at == start + days * DAY
        assert timers_of(trial)["state"].transition == "nudge"
    trial.trial_days = 3
    trial.save()

    assert trial.state_due_at == start + 15 * DAY
    assert_whole(trial)


def test_where_all_was_cancelled_nothing_moves() -> None:
    """After transitions that keep the clock, too."""
    trial = Trial.objects.create(trial_days=5, pause=20 * DAY)
    trial.cancel_decay("end")
    trial.cancel_decay("nudge")
    trial.save()
    trial.look()
    trial.save()

    assert "Moved 0" in run("reschedule", "crm.Trial", "--apply")
    assert timers_of(trial) == {}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["reschedule", "crm.Rep"], "'crm.Rep' is no model with stock", id="model"),
        pytest.param(["reschedule", "crm.Order"], "payment, delivery: give one", id="field"),
        pytest.param(["schedule", "--days", "0"], "from 1 to 366", id="days"),
        pytest.param(["release", "--lifecycle", "x"], "'x' is no lifecycle", id="lifecycle"),
    ],
)
def test_bad_arguments_are_told(args: list[str], message: str) -> None:
    """With what to give instead."""
    assert Order._meta.label == "crm.Order"
    with pytest.raises(CommandError, match=message):
        run(*args)

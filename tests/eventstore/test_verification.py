"""What was altered is found and named; what was not raises no alarm."""

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

import stockflow
from stockflow import testing, witnesses
from stockflow.erasure import erase
from stockflow.eventstore.chain import GENESIS, link
from stockflow.models import Event, Position
from stockflow.verification import Wrong, verify
from tests.crm.models import Lead, Order, Ticket
from tests.eventstore.tampering import TAMPERINGS, tampering
from tests.fence.down import fence_down

pytestmark = pytest.mark.django_db


def found(since: int = 0) -> list[Wrong]:
    """Return all that is wrong."""
    return [wrong for step in verify(since=since) for wrong in step.wrong]


@pytest.fixture(name="log")
def _log(db: None) -> None:
    """Some thirty events of several objects, with reasons and facets, all positioned; some erased."""
    with stockflow.context(actor="Ada Ärmel", reason="tests", correlation="c-1", data={"a": 1}):
        for n in range(6):
            lead = Lead.objects.create(channel=f"web {n}")
            lead.cool()
            lead.save()
            lead.rekindle()
            lead.save()
            Ticket.objects.create()
        gone = Order.objects.create(pk=77)
        lifecycle = gone.stock_lifecycle
        gone.delete()
    testing.sequence()
    erase(lead, lifecycle or "")
    testing.sequence()


def test_a_sound_log_verifies(log: None) -> None:
    """Nothing is wrong with what was recorded, in whatever application."""
    Event.objects.create(application="other", originator="x", version=0, topic="t", payload=b"\x00")
    testing.sequence()
    steps = list(verify())

    assert [wrong for step in steps for wrong in step.wrong] == []
    assert sum(step.positions for step in steps) == Position.objects.count()


def test_every_alteration_is_found(log: None, pytestconfig: pytest.Config) -> None:
    """Bytes changed, rows deleted, swapped or inserted: ``verify`` finds each."""
    number, missed = pytestconfig.getoption("--tampers"), []
    for seed in range(number):
        random = Random(seed)
        tamper = random.choice(TAMPERINGS)
        with tampering() as cursor:
            position = tamper(cursor, random)
            if not found():
                missed.append(f"{tamper.__name__} with seed {seed} at position {position}")

    assert missed == []


def test_the_first_wrong_position_is_named(log: None) -> None:
    """However many are altered, the first one is where to look."""
    with tampering() as cursor:
        events = list(Position.objects.filter(position__in=[4, 9]).values_list("event", flat=True))
        cursor.execute("UPDATE stockflow_event SET actor = 'x' WHERE id IN (%s, %s)", events)
        wrong = found()

    assert [str(one) for one in wrong] == [
        f"Position 4: it, or its event {min(events)}, was altered: the hash is not that of its content"
    ]


def test_since_no_position(db: None) -> None:
    """What is mistyped is no altered log."""
    with pytest.raises(CommandError, match="--since is -5, but positions count from 1"):
        call_command("stockflow", "verify", "--since", "-5")


def test_what_is_missing_is_named(log: None) -> None:
    """A position or an event that is gone is said to be gone."""
    event = Position.objects.get(position=5).event
    with tampering() as cursor:
        cursor.execute("DELETE FROM stockflow_position WHERE position = 5")
        without_position = [str(one) for one in found()]
    with tampering() as cursor:
        cursor.execute("DELETE FROM stockflow_event WHERE id = %s", [event])
        without_event = [str(one) for one in found()]

    assert "Position 5: it is gone, and the next one is 6" in without_position
    assert f"Event {event}: it has no position and does not wait for one" in without_position
    assert f"Position 5: its event {event} is gone" in without_event
    assert any("its versions have a gap" in text for text in without_event)


def test_what_was_verified_before_can_be_left_out(log: None) -> None:
    """``--since`` reads on where an earlier run ended, and misses what lies before."""
    with tampering() as cursor:
        cursor.execute(
            "UPDATE stockflow_event SET actor = 'x' WHERE id = (SELECT min(id) FROM stockflow_event)"
        )

        assert found()
        assert found(since=10) == []


def test_a_text_that_is_none_any_more(log: None) -> None:
    """SQLite takes bytes that are no UTF-8; the last position's may hide it from its own log."""
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL takes no such text")
    last = Position.objects.latest("position").position
    with tampering() as cursor:
        cursor.execute(
            "UPDATE stockflow_position SET application = CAST(x'FF' AS text) WHERE position = %s",
            [last],
        )
        wrong = [str(one) for one in found()]

    assert wrong == ["A position of '\ufffd': its application was altered"]


def test_since_a_position_that_is_gone(log: None) -> None:
    """A log that is shorter than what was verified before was cut, even if nothing is left."""
    last = Position.objects.latest("position").position

    assert [str(one) for one in found(since=999)] == [
        f"Position 999: it is gone, and the last one is {last}"
    ]
    with tampering() as cursor:
        cursor.execute("DELETE FROM stockflow_position")
        assert "Position 9: it is gone, and the last one is 0" in map(str, found(since=9))


def test_command_says_that_all_is_well(log: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The command tells how much it verified, and what no hash covers yet."""
    Ticket.objects.create()
    call_command("stockflow", "verify")
    said = capsys.readouterr().out

    assert f"Verified {Position.objects.count():,} positions: all is as it was recorded." in said
    assert "Not in the chain yet: 1 events without a position." in said


def test_command_fails_and_names_what_is_wrong(log: None) -> None:
    """It exits non-zero, with what is wrong on lines of their own."""
    with tampering() as cursor:
        cursor.execute("UPDATE stockflow_event SET target = 'won'")
        with pytest.raises(CommandError, match=r"^The log is not what was recorded:\nPosition 1: "):
            call_command("stockflow", "verify", verbosity=0)


def rewrite(cursor: Any, first: int) -> None:
    """Change the event at position *first* and link all that follows anew: a forger's work."""
    from stockflow.eventstore.chain import columns, hash_of

    cursor.execute(
        "UPDATE stockflow_event SET reason = 'forged' "
        "WHERE id = (SELECT event FROM stockflow_position WHERE position = %s)",
        [first],
    )
    before = Position.objects.filter(position=first - 1).first()
    previous = bytes(before.hash) if before else GENESIS
    for entry in Position.objects.filter(position__gte=first).order_by("position"):
        cursor.execute(
            f"SELECT {columns(connection)} FROM stockflow_event e WHERE id = %s", [entry.event]
        )
        place = "stockflow", entry.position, entry.sequenced_at
        kept = {
            name: value and bytes(value)
            for name in ("salt", "digest")
            for value in [getattr(entry, name)]
        }
        previous = hash_of(previous, place, cursor.fetchone(), **kept)
        cursor.execute(
            "UPDATE stockflow_position SET hash = %s WHERE event = %s", [previous, entry.event]
        )


def cut(cursor: Any, first: int) -> None:
    """Remove the tail of the log from position *first* on."""
    cursor.execute(
        "DELETE FROM stockflow_event WHERE id IN (SELECT event FROM stockflow_position WHERE position >= %s)",
        [first],
    )
    cursor.execute("DELETE FROM stockflow_position WHERE position >= %s", [first])


@pytest.mark.parametrize(
    ("forge", "text"),
    [
        pytest.param(
            rewrite,
            r"it is not what a witness saw on .*: it, or one before it, was rewritten",
            id="rewritten",
        ),
        pytest.param(cut, r"it is gone, and a witness saw it on .*: the tail was cut", id="cut"),
    ],
)
def test_forged_tail_is_found_against_a_witness(log: None, forge: Any, text: str) -> None:
    """A tail cut off or rewritten with right hashes is seen by a witness, and by nothing else."""
    said = witnesses.read(_signed())
    with tampering() as cursor:
        forge(cursor, 3)
        wrong = [str(one) for one in witnesses.compare(said)]
        chain = [one for one in found() if one.where.startswith("Position")]

    assert chain == []
    assert len(wrong) == 1
    assert re.search(text, wrong[0])
    assert list(witnesses.compare(said)) == []


def _signed() -> str:
    """Return a witness made inside a test's transaction."""
    testing.sequence()
    return witnesses.witness()


def test_witness_file(log: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes a file that the other one accepts, and overwrites none."""
    file = tmp_path / "witness.json"
    call_command("stockflow", "witness", str(file))
    call_command("stockflow", "verify", against=file)

    assert "Keep it where nobody who can write the log can." in capsys.readouterr().out
    with pytest.raises(CommandError, match="exists, and a witness is not overwritten"):
        call_command("stockflow", "witness", str(file))
    with pytest.raises(CommandError, match=r"w\.json cannot be written: .*No such file"):
        call_command("stockflow", "witness", str(tmp_path / "none" / "w.json"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(lambda text: "{}", "it is not what `witness` writes", id="none"),
        pytest.param(lambda text: "no json", "it is not what `witness` writes", id="text"),
        pytest.param(
            lambda text: text.replace('"position": ', '"position": 1'),
            "is not signed by this project, or was altered",
            id="altered",
        ),
    ],
)
def test_witness_that_is_none(log: None, tmp_path: Path, change: Any, text: str) -> None:
    """What was not signed here is no witness."""
    file = tmp_path / "witness.json"
    file.write_text(change(_signed()))

    with pytest.raises(CommandError, match=text):
        call_command("stockflow", "verify", against=file)


def test_witness_survives_a_new_key(log: None, tmp_path: Path) -> None:
    """It is read with a former key, as long as Django knows it."""
    file = tmp_path / "witness.json"
    file.write_text(_signed())

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["tests"]):
        call_command("stockflow", "verify", against=file, verbosity=0)
    with (
        override_settings(SECRET_KEY="new"),
        pytest.raises(CommandError, match="SECRET_KEY_FALLBACKS"),
    ):
        call_command("stockflow", "verify", against=file, verbosity=0)


def test_same_values_have_the_same_hash() -> None:
    """The hash depends on what is stored, not on the database that stores it."""
    values = ["stockflow", 1, 1_700_000_000_000_000, 7, b"stockflow", "ä".encode(), None, b"\x00"]

    assert link(GENESIS, values).hex() == (
        "694fe92dd06d5fc482feef520de55c9bfb4adb45a694f6bd6b36153921efb254"
    )
    assert link(GENESIS, [b"ab", b"c"]) != link(GENESIS, [b"a", b"bc"])
    assert link(GENESIS, [None]) != link(GENESIS, [b""])


def test_rows_are_compared_with_the_log(log: None) -> None:
    """A row that its last event does not know so is named, and a stream without its row."""
    lead, gone = Lead.objects.order_by("pk")[:2]
    with fence_down(), connection.cursor() as cursor:
        cursor.execute("UPDATE crm_lead SET temperature = 'won' WHERE id = %s", [lead.pk])
        cursor.execute("DELETE FROM crm_lead WHERE id = %s", [gone.pk])
    wrong = [str(one) for one in found()]

    assert wrong[0].startswith(
        f"crm.Lead {lead.pk}: its temperature is not that of its last event: the row says 'won'"
    )
    assert wrong[1].startswith(f"crm.lead of lifecycle {gone.stock_lifecycle}: ")
    assert len(wrong) == 2


def test_rows_are_compared_with_an_altered_log_too(log: None) -> None:
    """Both are told: what was altered, and which rows the log does not know so."""
    lead = Lead.objects.order_by("pk")[0]
    with fence_down(), connection.cursor() as cursor:
        cursor.execute("UPDATE crm_lead SET temperature = 'won' WHERE id = %s", [lead.pk])
    with tampering() as cursor:
        cursor.execute(
            "UPDATE stockflow_event SET actor = 'forged' WHERE id = 1 + (SELECT min(id) FROM stockflow_event)"
        )
        wrong = [str(one) for one in found()]

    assert wrong[0].startswith("Position 2: it, or its event")
    assert wrong[-1].startswith(f"crm.Lead {lead.pk}: its temperature is not")


def test_a_log_that_cannot_be_read_is_said_to_be(log: None) -> None:
    """Facets that are no JSON any more keep no other row's comparison a secret."""
    with tampering() as cursor:
        cursor.execute("UPDATE stockflow_event SET target_facets = '{' WHERE model = 'crm.lead'")
        wrong = [str(one) for one in found()]

    assert wrong[-1].startswith("The rows: they cannot be compared with a log that was altered: ")

"""A whole history dumped, and loaded into an empty database again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models
from django.db.migrations.loader import MigrationLoader
from django.test import TransactionTestCase

from example.crm.models import Lead as Prospect
from example.crm.models import Rep as Seller
from stockflow.eventstore.sequencer import sequence
from stockflow.fence import installing
from stockflow.models import Event, Position, ScheduledTransition
from stockflow.tables import Unsequenced
from stockflow.testing import clock
from stockflow.verification import verify
from tests.crm.models import BigLead, Lead, Order, Rep
from tests.stockflow.reading import assert_whole, trail

LOAD_DISK = MigrationLoader.load_disk
LABELS = ["stockflow", "crm.Rep", "crm.Lead", "crm.BigLead", "crm.Order"]
TABLES = [
    *(Event, Position, Unsequenced, ScheduledTransition),
    *(Rep, Lead, BigLead, Order, Seller, Prospect),
]


def contents() -> list[list[Any]]:
    """Return all rows of all tables."""
    return [sorted(model._base_manager.values_list(), key=repr) for model in TABLES]


def make() -> None:
    """Write some history, part of it positioned."""
    rep = Rep.objects.create(name="Ada", team="north")
    lead, big = Lead.objects.create(owner=rep), BigLead.objects.create(owner=rep)
    lead.cool()
    lead.save()
    big.offer()
    big.save()
    Order.objects.create()
    Lead.objects.create().delete()
    sequence()
    lead.chill()
    lead.save()


@pytest.mark.django_db(transaction=True)
def test_dumped_and_loaded_again(tmp_path: Path) -> None:
    """Events before their rows: all is as it was, goes on, and is guarded."""
    make()
    fixture, before = tmp_path / "all.json", contents()
    call_command("dumpdata", *LABELS, output=str(fixture), verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    emptied = contents()
    call_command("loaddata", str(fixture), verbosity=0)
    loaded = contents()
    sequence()
    lead = Lead.objects.get(biglead=None)
    lead.rekindle()
    lead.save()

    assert not any(emptied)
    assert [*loaded[:2], *loaded[3:]] == [*before[:2], *before[3:]]
    assert trail(lead)[-1] == "moved cold>hot"
    assert_whole(lead)
    assert sequence() == 1
    assert [wrong for step in verify() for wrong in step.wrong] == []
    with pytest.raises(IntegrityError, match=r"^stockflow: UPDATE of stockflow_event"):
        models.QuerySet(Event).update(actor="x")


@pytest.mark.django_db(transaction=True)
def test_rows_before_their_events_are_refused(tmp_path: Path) -> None:
    """The error says what to load first, and nothing is loaded."""
    make()
    fixture = tmp_path / "all.json"
    call_command("dumpdata", "crm.Rep", "crm.Lead", output=str(fixture), verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    with pytest.raises(IntegrityError, match=r"stockflow: .*load its events before it"):
        call_command("loaddata", str(fixture), verbosity=0)

    assert not any(contents())


def _load_disk(self: MigrationLoader) -> None:
    """Load as if the tests' apps had migrations: only of such apps the contents are kept."""
    LOAD_DISK(self)
    self.migrated_apps |= {Lead._meta.app_label, Prospect._meta.app_label}


class WithWhatMigrationsLeft(TransactionTestCase):
    """Django's test case that puts back, before each test, what the database began with."""

    serialized_rollback = True

    before: ClassVar[list[Any]]
    patched: ClassVar[pytest.MonkeyPatch]

    @classmethod
    def setUpClass(cls) -> None:
        with clock(datetime(2026, 3, 3, tzinfo=UTC)):  # JSON keeps three digits of a second
            lead = Prospect.objects.create(owner=Seller.objects.create(name="Ada", team="north"))
            sequence()
            lead.cool()
            lead.save()
        cls.before, cls.patched = contents(), pytest.MonkeyPatch()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MigrationLoader, "load_disk", _load_disk)
            text = connection.creation.serialize_db_to_string()
        cls.patched.setattr(connection, "_test_serialized_contents", text, raising=False)
        # As Django's own teardown does it: the ids of what is put back are not given again.
        keep = {"reset_sequences": False, "inhibit_post_migrate": True}
        call_command("flush", interactive=False, verbosity=0, **keep)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.patched.undo()
        call_command("flush", interactive=False, verbosity=0)

    def check(self) -> None:
        """All is there, and can be gone on with."""
        found = contents()
        assert [*found[:2], *found[3:]] == [*self.before[:2], *self.before[3:]]
        sequence()
        assert [wrong for step in verify() for wrong in step.wrong] == []
        lead = Prospect.objects.get()
        lead.rekindle()
        lead.save()
        assert_whole(lead)
        assert installing.differing("default") == ([], [])

    def test_it_is_there(self) -> None:
        """Log, rows and timers."""
        self.check()

    def test_it_is_there_again(self) -> None:
        """After the other test has emptied the tables."""
        self.check()

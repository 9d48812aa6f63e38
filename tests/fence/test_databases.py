"""Several databases: each object's log is where its row is."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, models, transaction
from django.db.models import QuerySet

from stockflow.erasure import erase
from stockflow.errors import InvalidDeclaration
from stockflow.fence import comparing, installing
from stockflow.models import Event, ScheduledTransition
from stockflow.testing import Clock, run_due
from tests.crm.models import Book, Labelled, Lead, Rep, Sale, Shelf, Tag
from tests.fence.down import fence_down

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(name="lead")
def _lead() -> Lead:
    """An object in the other database."""
    rep = Rep.objects.using("other").create(name="Bo", team="south")
    lead: Lead = Lead.objects.using("other").create(owner=rep)
    return lead


def kinds(using: str) -> list[str | None]:
    """Return the kinds of the events of a database, in order."""
    return list(Event.objects.using(using).order_by("version").values_list("kind", flat=True))


def test_the_log_is_where_the_row_is(lead: Lead) -> None:
    """Created, moved, reclassified and deleted there."""
    lead.cool()
    lead.save()
    lead = Lead.objects.using("other").get()
    lead.channel = "phone"
    lead.save()
    history = lead.stock_history()
    lead.delete()

    assert [entry.kind for entry in history] == ["entered", "moved", "reclassified"]
    assert history[0].facets == {"channel": "web", "owner__team": "south"}
    assert kinds("other") == ["entered", "moved", "reclassified", "left"]
    assert kinds("default") == []


def test_decays_fire_there(lead: Lead, time: Clock) -> None:
    """The timers of a database are its own."""
    time.advance(timedelta(days=8))

    assert run_due() == 0
    assert run_due(using="other") == 1
    assert Lead.objects.using("other").get().temperature == "warm"
    assert ScheduledTransition.objects.using("other").count() == 1


def test_the_fence_stands_there(lead: Lead) -> None:
    """In each database that has subjects."""
    with pytest.raises(IntegrityError, match="stockflow: a state"), transaction.atomic("other"):
        models.QuerySet(Lead, using="other").update(temperature="won")

    assert installing.differing("other") == ([], [])


def test_reconcile_looks_there(lead: Lead) -> None:
    """--database says where."""
    with fence_down("other"):
        models.QuerySet(Lead, using="other").update(temperature="won")
    call_command("stockflow", "reconcile", "--apply", "--database", "other", verbosity=0)

    assert kinds("other") == ["entered", "reconciled"]
    assert comparing.first("other", 1) == []


def test_a_copy_in_another_database_begins_its_own_history(lead: Lead) -> None:
    """Saved there as a new object, it is one."""
    lead.pk, lead.owner = None, None
    lead._state.adding = True
    lead.save(using="default")

    assert kinds("default") == ["entered"]
    assert kinds("other") == ["entered"]


class Parting:
    """A router that sends the log away."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        """The log to the other database, all else as it comes."""
        return "other" if model is Event else None


class Following:
    """A router that sends all of it to the other database."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        """Whatever it is."""
        return "other"

    db_for_read = db_for_write


def test_a_router_that_parts_them_is_refused(settings: Any) -> None:
    """Before anything is written, with what to do."""
    lead = Lead.objects.create()
    with fence_down():
        QuerySet(Lead).update(temperature="won")
    settings.DATABASE_ROUTERS = [f"{__name__}.Parting"]
    mend = partial(call_command, "stockflow", "reconcile", "--apply")
    forget = partial(erase, lead)
    for write in (
        *(Lead().save, lead.save, lead.delete, Lead.objects.all().delete, mend, run_due, forget),
    ):
        with (
            pytest.raises(InvalidDeclaration, match=r"its log to 'other'.*db_for_write"),
            transaction.atomic(),
        ):
            write()

    assert kinds("default") == ["entered"]
    assert kinds("other") == []


def test_a_router_that_keeps_them_together_is_followed(settings: Any) -> None:
    """Without a word about it in the code."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Following"]
    lead = Lead.objects.create()
    lead.cool()
    lead.save()

    assert kinds("other") == ["entered", "moved"]
    assert not Lead.objects.using("default").exists()


def let_the_database_act(table: str, column: str, target: str, action: str) -> None:
    """Make the database itself change what refers to a row that is deleted."""
    refers = f'REFERENCES "{target}" ("id")'
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT acting FOREIGN KEY ({column}) {refers} "
                f"ON DELETE {action}"
            )
            return
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
        sql = cursor.fetchone()[0].replace(refers, f"{refers} ON DELETE {action}")
        cursor.execute(f"DROP TABLE {table}")
        cursor.execute(sql)
    installing.install("default")


@pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="Django 6.1 brought DB_CASCADE")
def test_django_s_cascade_of_the_database_is_refused() -> None:
    """DB_CASCADE sends no signal, so nothing would be recorded: the error says what to use."""
    shelf = Shelf.objects.create()
    book = Book.objects.create(shelf=shelf)
    connections["default"].check_constraints()
    for delete in (shelf.delete, Shelf.objects.all().delete):
        with (
            pytest.raises(IntegrityError, match=r"stockflow: a row of crm_book.*on_delete=CASCADE"),
            transaction.atomic(),
        ):
            delete()
    book.delete()
    shelf.delete()

    assert kinds("default") == ["entered", "left"]


def test_a_cascade_of_the_database_is_refused() -> None:
    """It records nothing; Django's own goes through signals, and does."""
    let_the_database_act("crm_labelled", "tag_id", "crm_tag", "CASCADE")
    tag = Tag.objects.create(name="a")
    Labelled.objects.create(tag=tag)
    connections["default"].check_constraints()
    with (
        pytest.raises(IntegrityError, match=r"stockflow: a row of crm_labelled.*on_delete=CASCADE"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM crm_tag")
    kept = Labelled.objects.count()
    tag.delete()

    assert kept == 1
    assert kinds("default") == ["entered", "left"]


def test_a_relation_that_the_database_empties_is_refused() -> None:
    """ON DELETE SET NULL would change a facet and record nothing."""
    let_the_database_act("crm_sale", "seller_id", "crm_rep", "SET NULL")
    sale = Sale.objects.create(seller=Rep.objects.create(name="Ann", team="north"))
    connections["default"].check_constraints()
    with (
        pytest.raises(IntegrityError, match="stockflow: a state, facet or version in crm_sale"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM crm_rep")
    sale.refresh_from_db()

    assert sale.seller is not None
    assert kinds("default") == ["entered"]

"""Where the fence stands, and what migrations, flush and settings do to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterModelTable,
    Migration,
    RemoveConstraint,
    RemoveField,
    RenameField,
    RunPython,
)
from django.db.migrations.state import ProjectState

from stockflow import testing
from stockflow.fence import installing, migrating
from stockflow.fence.checks import check_fence, check_log, check_routers
from stockflow.fence.subjects import fenced_tables
from stockflow.fence.triggers import Trigger
from stockflow.models import Event
from tests.crm.models import Badge, BigLead, Lead, Ticket
from tests.fence.down import fence_down

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def warnings() -> list[CheckMessage]:
    """Return what the check says of the default database."""
    return check_fence(None, databases=["default"])


def test_every_subject_is_fenced() -> None:
    """Children with fields of their own too, proxies in their parents' tables."""
    tables = [fenced.table for fenced in fenced_tables("default")]

    assert {"crm_lead", "crm_biglead", "crm_ticket", "crm_order", "crm_lamp"} <= set(tables)
    assert tables.index("crm_lead") < tables.index("crm_biglead")
    assert "crm_rep" not in tables
    assert warnings() == []


def test_a_trigger_that_is_gone_is_reported() -> None:
    """W013 names what is missing, and migrate mends it."""
    connection.check_constraints()
    installing.take_down("default", ["update"])
    found = warnings()
    call_command("migrate", verbosity=0)

    assert [message.id for message in found] == ["stockflow.W013"]
    assert "update on crm_lead" in found[0].msg
    assert warnings() == []


def test_a_trigger_of_another_text_is_reported() -> None:
    """One that an older model wrote is put right."""
    trigger = installing.wanted("default")["stockflow_fence_delete_crm_ticket"]
    older = Trigger(trigger.fenced, trigger.operation, trigger.body.replace("ticket", "tocket"))
    with connection.cursor() as cursor:
        for statement in (
            installing._vendor("default").drop(trigger.name),
            installing._vendor("default").create(trigger).replace("without its", "with no"),
        ):
            cursor.execute(statement)
    found = warnings()
    installing.install("default")

    assert older.name == trigger.name
    assert "outdated: delete on crm_ticket" in found[0].msg
    assert warnings() == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite cannot disable a trigger")
def test_a_disabled_trigger_is_reported() -> None:
    """One that stands and sleeps is none."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE crm_lead DISABLE TRIGGER stockflow_fence_update_crm_lead")

    assert "update on crm_lead" in warnings()[0].msg


_OWN = {
    "postgresql": (
        "DROP TRIGGER stockflow_immutable ON stockflow_event",
        "ALTER TABLE stockflow_position DISABLE TRIGGER stockflow_never_emptied",
        "CREATE OR REPLACE FUNCTION stockflow_enlist() RETURNS trigger AS 'BEGIN END' LANGUAGE plpgsql",
    ),
    "sqlite": (
        "DROP TRIGGER stockflow_event_update",
        "DROP TRIGGER stockflow_event_enlist",
        "CREATE TRIGGER stockflow_event_enlist AFTER INSERT ON stockflow_event BEGIN SELECT 1; END",
    ),
}


def test_the_log_s_own_triggers_are_watched() -> None:
    """W019: one that is gone, asleep or another one is named, and migrate makes it again."""
    before = check_log(None, databases=["default", "other"])
    with connection.cursor() as cursor:
        for statement in _OWN[connection.vendor]:
            cursor.execute(statement)
    found = check_log(None, databases=["default", "other"])
    call_command("migrate", verbosity=0)
    lead = Lead.objects.create()
    with pytest.raises(IntegrityError, match="never altered"), transaction.atomic():
        Event.objects.update(actor="another")

    assert before == check_log(None, databases=["default"]) == []
    assert [message.id for message in found] == ["stockflow.W019"]
    assert found[0].msg.count("enlist") == 1
    assert "_event" in found[0].msg
    assert (connection.vendor == "sqlite") or "never_emptied on stockflow_position" in found[0].msg
    assert testing.sequence() == 1
    assert lead.stock_version == 1


def test_the_setting_takes_it_down(settings: Any) -> None:
    """STOCKFLOW_FENCE = False: at the next migrate it is gone, and what remains is reported."""
    settings.STOCKFLOW_FENCE = False
    found = warnings()
    call_command("migrate", verbosity=0)
    remaining = installing.installed("default")
    Lead.objects.create()
    models.QuerySet(Lead).update(temperature="won")

    assert "not wanted: " in found[0].msg
    assert remaining == {}
    assert warnings() == []


def test_flush_empties_everything() -> None:
    """Which nothing else may; the fence stands afterwards."""
    Lead.objects.create()
    BigLead.objects.create()
    connection.check_constraints()
    call_command("flush", interactive=False, verbosity=0)

    assert not Lead.objects.exists()
    assert not Event.objects.exists()
    assert warnings() == []


def test_a_database_without_the_log_has_no_fence(settings: Any) -> None:
    """A router that parts subjects from their log is an error, and no fence looks for it there."""
    settings.DATABASE_ROUTERS = ["tests.fence.test_installing.Parting"]
    found = check_routers(None, databases=["default"])

    assert {message.id for message in found} == {"stockflow.E014"}
    assert any("put crm.Lead into the database 'default', but not its log" in m.msg for m in found)


class Parting:
    """A router that keeps the log elsewhere."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Everything but the log."""
        return app_label != "stockflow"


@pytest.fixture(name="migrating")
def _migrating() -> Iterator[None]:
    """The signals around a plan that changes the tests' models."""
    plan = [(Migration("0002", "crm"), False)]
    connection.check_constraints()
    migrating.before("default", plan)
    yield
    connection.check_constraints()
    migrating.after("default", plan)
    assert warnings() == []


class Steps:
    """Operations on the tests' models, as a migration runs them."""

    def __init__(self) -> None:
        self.state = ProjectState.from_apps(apps)

    def run(self, *operations: Any) -> None:
        before = self.state
        with connection.schema_editor(atomic=True) as editor:
            for operation in operations:
                after = before.clone()
                operation.state_forwards("crm", after)
                operation.database_forwards("crm", editor, before, after)
                before = after
        self.state = before


def wide(name: str = "note") -> Any:
    """Return an operation for which SQLite remakes the table of leads."""
    return AlterField("lead", name, models.CharField(max_length=99, default="", null=True))


def lose_all(apps: Any, editor: Any) -> None:
    """A data migration past the transitions; Django would hide the error behind one of its own."""
    with pytest.raises(IntegrityError, match="stockflow: a state"), transaction.atomic():
        apps.get_model("crm", "Lead").objects.update(temperature="lost")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("changed", ["note", "channel", "temperature"])
def test_a_table_is_remade(changed: str, migrating: None) -> None:
    """With rows in it, though triggers of other tables name it; its own are back."""
    BigLead.objects.create()
    Steps().run(wide(changed))
    lead = Lead.objects.get()
    lead.cool()
    lead.save()
    field: Any = Lead._meta.get_field(changed)
    Steps().run(AlterField("lead", changed, field.clone()))

    assert Lead.objects.get().temperature == "warm"


@pytest.mark.django_db(transaction=True)
def test_columns_come_and_go(migrating: None) -> None:
    """Whether the fence speaks of them or not."""
    Lead.objects.create()
    steps = Steps()
    steps.run(AddField("lead", "more", models.CharField(max_length=9, default="x")))
    steps.run(RenameField("lead", "channel", "source"), RemoveField("lead", "more"))
    steps.run(RenameField("lead", "source", "channel"))

    assert Lead.objects.get().channel == "web"


@pytest.mark.django_db(transaction=True)
def test_a_data_migration_meets_the_fence(migrating: None) -> None:
    """Also behind a table's remake in the same migration."""
    Lead.objects.create()
    steps = Steps()
    steps.run(wide(), RunPython(lose_all))
    steps.run(RunPython(lose_all))
    note: Any = Lead._meta.get_field("note")
    steps.run(AlterField("lead", "note", note.clone()))

    assert Lead.objects.get().temperature == "hot"


def write_note(apps: Any, editor: Any) -> None:
    """A data migration that writes what no stock hangs on."""
    assert apps.get_model("crm", "Lead").objects.update(note="x") == 1


def write_source(apps: Any, editor: Any) -> None:
    """A data migration that writes a renamed facet without its event."""
    with pytest.raises(IntegrityError, match="stockflow: a state"), transaction.atomic():
        apps.get_model("crm", "Lead").objects.update(source="x")


@pytest.mark.django_db(transaction=True)
def test_a_renamed_column_is_fenced_under_its_new_name(migrating: None) -> None:
    """What a migration renames and then writes meets the fence, and what is free stays free."""
    Lead.objects.create()
    steps = Steps()
    steps.run(RenameField("lead", "channel", "source"), RunPython(write_note))
    if connection.vendor == "postgresql":  # SQLite's fence waits for columns that it speaks of
        steps.run(RunPython(write_source))
    steps.run(RenameField("lead", "source", "channel"), RunPython(lose_all), RunPython(write_note))

    assert Lead.objects.get().note == "x"


@pytest.mark.django_db(transaction=True)
def test_a_renamed_table_is_fenced(migrating: None) -> None:
    """Its children ask it under its new name."""
    big = BigLead.objects.create()
    steps = Steps()
    steps.run(AlterModelTable("lead", "crm_prospect"))
    steps.run(RunPython(lose_all_big), RunPython(write_note))
    steps.run(AlterModelTable("lead", "crm_lead"), RunPython(lose_all), RunPython(write_note))
    big.refresh_from_db()

    assert (big.stage, big.note) == ("draft", "x")


def lose_all_big(apps: Any, editor: Any) -> None:
    """A data migration that writes a child's state, whose version is in the renamed table."""
    if connection.vendor == "postgresql":
        with pytest.raises(IntegrityError, match="stockflow: a state"), transaction.atomic():
            apps.get_model("crm", "BigLead").objects.update(stage="offered")


@pytest.mark.django_db(transaction=True)
def test_a_removed_facet_is_in_nobodys_way(migrating: None) -> None:
    """What a migration removes is not asked for by what it writes next."""
    Lead.objects.create()
    steps = Steps()
    channel: Any = Lead._meta.get_field("channel")
    steps.run(RemoveField("lead", "channel"), RunPython(write_note))
    steps.run(AddField("lead", "channel", channel.clone()), RunPython(write_note))

    assert Lead.objects.get().channel == "web"


def write_code(apps: Any, editor: Any) -> None:
    """A data migration that writes what is unique together with a column that is not there."""
    assert apps.get_model("crm", "Badge").objects.update(code="z") == 1


@pytest.mark.django_db(transaction=True)
def test_a_column_of_a_uniqueness_only_comes_later(migrating: None) -> None:
    """What looks for a clash waits for it, and so does the rest of the table's fence."""
    Badge.objects.create(code="a")
    steps = Steps()
    worn: Any = Badge._meta.get_field("is_worn")
    constraints = [c for c in Badge._meta.constraints if c.name]
    steps.run(*(RemoveConstraint("badge", c.name) for c in constraints))
    steps.run(RemoveField("badge", "is_worn"), RunPython(write_code))
    steps.run(AddField("badge", "is_worn", worn.clone()))
    steps.run(*(AddConstraint("badge", c.clone()) for c in constraints), RunPython(write_code))

    assert Badge.objects.get().code == "z"


def test_drift_fails_the_command() -> None:
    """Rows that a migration left untrue are named, with what shows and mends them."""
    lead = Lead.objects.create()
    with fence_down():
        models.QuerySet(Lead).update(temperature="won")
    with pytest.raises(CommandError, match="migrations are done") as caught:
        migrating.after("default", [(Migration("0002", "crm"), False)])

    assert f"crm.Lead {lead.pk}, temperature: the row says 'won'" in str(caught.value)
    assert "manage.py stockflow reconcile" in str(caught.value)


def test_drift_elsewhere_is_not_this_migration_s() -> None:
    """Only the apps that were migrated are compared."""
    Ticket.objects.create()
    with fence_down():
        models.QuerySet(Ticket).update(state="open")
    migrating.after("default", [(Migration("0002", "auth"), False)])

    assert warnings() == []

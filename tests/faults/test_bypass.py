"""Each way past the transitions is refused by the database, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.state import ProjectState

from stockflow.domain.cells import decode_facets, encode_facets
from stockflow.fence import comparing, installing
from stockflow.fence.subjects import fenced_tables
from stockflow.fence.uniqueness import Clashes
from stockflow.models import Event, StockflowModel
from tests.crm.models import (
    Badge,
    BigLead,
    Folder,
    HotLead,
    Labelled,
    Lamp,
    Lead,
    LongVisit,
    Order,
    Paint,
    Radio,
    Rep,
    Source,
    Tag,
    Visit,
)
from tests.fence.down import fence_down
from tests.stockflow.reading import assert_whole

pytestmark = pytest.mark.django_db

SQLITE_ONLY = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own words")
POSTGRESQL_ONLY = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="PostgreSQL's own words"
)


def plain(model: type[models.Model]) -> Any:
    """Return Django's own queryset of *model*, which refuses nothing itself."""
    return models.QuerySet(model)


def run(sql: str, *values: Any) -> int:
    """Execute raw SQL."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return int(cursor.rowcount)


def table(model: type[models.Model]) -> list[tuple[Any, ...]]:
    """Return all that is in a table."""
    return sorted(plain(model).values_list(), key=repr)


def historical(model: type[models.Model]) -> Any:
    """Return *model* as a data migration sees it."""
    return ProjectState.from_apps(apps).apps.get_model(model._meta.label)


def refused(what: str, does: Callable[[], Any]) -> None:
    """*does* is stopped by the fence, with a text that begins so (loaddata puts its own before), and changes nothing."""
    before = [table(model) for model in (Lead, BigLead, Order, Event)]
    with (
        pytest.raises(IntegrityError, match=rf"(?:^|: )stockflow: {what}") as caught,
        transaction.atomic(),
    ):
        does()

    assert before == [table(model) for model in (Lead, BigLead, Order, Event)]
    assert any(word in str(caught.value) for word in ("save()", "delete()"))


def works_without_the_fence(does: Callable[[], Any]) -> None:
    """The same goes through where nobody stands in the way."""
    with fence_down():
        does()


def save_historical(lead: Lead) -> None:
    """Save one as a data migration does."""
    row = historical(Lead).objects.get(pk=lead.pk)
    row.channel = "phone"
    row.save()


CHANGES: dict[str, Callable[[Lead], Any]] = {
    "update a state": lambda lead: plain(Lead).update(temperature="won"),
    "update a version": lambda lead: plain(Lead).update(stock_version=2),
    "lower a version": lambda lead: plain(Lead).update(stock_version=0),
    "update a facet": lambda lead: plain(Lead).update(channel="phone"),
    "update a facet in raw SQL": lambda lead: run("UPDATE crm_lead SET channel = 'x'"),
    "update a relation": lambda lead: plain(Lead).update(owner=None),
    "update state and version": lambda lead: plain(Lead).update(temperature="won", stock_version=2),
    "bulk_update": lambda lead: plain(Lead).bulk_update(
        [Lead(pk=lead.pk, channel="phone")], ["channel"]
    ),
    "save_base raw": lambda lead: Lead(
        pk=lead.pk,
        channel="phone",
        stock_lifecycle=lead.stock_lifecycle,
        stock_version=1,
        temperature="hot",
    ).save_base(raw=True),
    "raw SQL": lambda lead: run("UPDATE crm_lead SET temperature = %s", "won"),
    "raw SQL of state and version": lambda lead: run(
        "UPDATE crm_lead SET temperature = 'won', stock_version = stock_version + 1"
    ),
    "a historical model": lambda lead: historical(Lead).objects.update(temperature="won"),
    "a historical model's save": save_historical,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_without_event(name: str, rep: Rep) -> None:
    """Neither state nor version nor facet changes but by an event."""
    lead = Lead.objects.create(owner=rep)
    refused("a state, facet or version in crm_lead would change", lambda: CHANGES[name](lead))
    works_without_the_fence(lambda: CHANGES[name](lead))


@pytest.mark.parametrize("value", ["NULL", "'00000000000000000000000000000001'"])
def test_a_changed_lifecycle(value: str) -> None:
    """The lifecycle names the object's log for ever."""
    Lead.objects.create()
    sql = f"UPDATE crm_lead SET stock_lifecycle = {value}"
    refused("the lifecycle of a row of crm_lead would change", lambda: run(sql))
    works_without_the_fence(lambda: run(sql))


def test_a_facet_without_event_where_all_facets_are_columns() -> None:
    """The quick look at an ordinary save looks at the facets too."""
    Lamp.objects.create()
    sql = "UPDATE crm_lamp SET kind = 'b'"
    refused("a state, facet or version in crm_lamp would change", lambda: run(sql))
    works_without_the_fence(lambda: run(sql))


NEXT = {"version": 2, "field": "phase", "target": "off", "target_facets": '{"kind":"a"}'}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"version": 3}, id="a later version"),
        pytest.param({"version": 0}, id="an earlier version"),
        pytest.param({"target": "on"}, id="another state"),
        pytest.param({"target_facets": '{"kind":"b"}'}, id="another facet"),
        pytest.param({"target_facets": '{"kind":"ab"}'}, id="a longer facet"),
        pytest.param(
            {"target_facets": """{"kind":"\\"kind\\":\\"a\\""}"""}, id="a facet that quotes it"
        ),
        pytest.param({"field": "another"}, id="another field"),
    ],
)
def test_the_quick_look_believes_no_other_event(wrong: dict[str, Any]) -> None:
    """An ordinary change is passed by one look at the last event; all of it must fit."""
    Lamp.objects.create(kind="a")
    sql = "UPDATE crm_lamp SET phase = 'off', stock_version = 2"

    def change(values: dict[str, Any]) -> int:
        event = Event.objects.get(version=1)
        event.pk, event.kind, event.topic = None, "moved", "stockflow:moved"
        for name, value in {**NEXT, **values}.items():
            setattr(event, name, value)
        event.save(force_insert=True)
        return run(sql)

    refused("a state, facet or version in crm_lamp would change", lambda: change(wrong))
    assert change({}) == 1


def append(row: StockflowModel, field: str, version: int, target: str, **facets: Any) -> None:
    """Append an event of *field* that says so, and leave the row as it is."""
    event = Event.objects.filter(originator=str(row.stock_lifecycle), field=field).latest("version")
    event.pk, event.kind, event.topic = None, "moved", "stockflow:moved"
    event.version, event.target = version, target
    event.target_facets = encode_facets(decode_facets(event.target_facets) | facets)
    event.save(force_insert=True)


@pytest.mark.parametrize(("number", "recorded"), [(4, 42), (42, 4), (4, -4), (None, 4), (4, 5)])
def test_the_quick_look_takes_no_number_for_another(number: int | None, recorded: int) -> None:
    """Not for one that begins with it (that is so of no text, which ends with a quote), nor of another facet."""
    paint = Paint.objects.create(number=number, rep=Rep.objects.create(pk=4))

    def change(told: int | None) -> int:
        append(paint, "shade", 2, "dark", number=told)
        return run("UPDATE crm_paint SET shade = 'dark', stock_version = 2")

    refused("a state, facet or version in crm_paint would change", lambda: change(recorded))
    assert change(number) == 1


def test_the_quick_look_sees_no_field_of_a_child() -> None:
    """So it is not taken where a column splits a field of the table and one of a child's."""
    visit, source = LongVisit.objects.create(), Source.objects.create()

    def change(version: int) -> int:
        append(visit, "state", version, "closed", other=source.pk)
        return int(plain(Visit).update(state="closed", other=source, stock_version=version))

    refused("a state, facet or version in crm_visit would change", lambda: change(3))
    append(visit, "pages", 3, "few", other=source.pk)
    assert change(4) == 1


def test_a_relation_that_is_recorded_for_one_field_only() -> None:
    """Saved as its parent, a child's own field would go on with what the old relation led to."""
    source = Source.objects.create(name="ad")
    visit, other = (LongVisit.objects.create(source=source) for _ in range(2))
    LongVisit.objects.create(source=source).delete(keep_parents=True)

    def let_go(row: Visit) -> None:
        row.source = None
        row.save()

    refused(
        "a state, facet or version in crm_visit would change.*loaded as the child that it is",
        lambda: let_go(Visit.objects.get(pk=visit.pk)),
    )
    for row in (Visit.objects.get(longvisit=None), LongVisit.objects.get(pk=visit.pk)):
        let_go(row)
        assert_whole(row)
    works_without_the_fence(lambda: let_go(Visit.objects.get(pk=other.pk)))


def test_a_lifecycle_whose_log_agrees() -> None:
    """Not even to a lifecycle in the same state and version is a row given away."""
    lamp = Lamp.objects.create()
    event = Event.objects.get()
    event.pk, event.originator = None, str(uuid4())
    event.save(force_insert=True)

    def give() -> None:
        plain(Lamp).filter(pk=lamp.pk).update(stock_lifecycle=event.originator)

    refused("the lifecycle of a row of crm_lamp would change", give)
    works_without_the_fence(give)


def test_exchanged_lifecycles() -> None:
    """Nor is it given to another row, by an exchange of keys."""
    Radio.objects.create(code="a")
    Radio.objects.create(code="b")
    run("UPDATE crm_radio SET code = 'c' WHERE code = 'a'")
    sql = (
        "UPDATE crm_radio SET stock_lifecycle = (SELECT x.stock_lifecycle FROM crm_radio x "
        "WHERE x.code = 'b') WHERE code = 'c'"
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        run(sql)


def test_a_changed_key_is_no_harm() -> None:
    """The log does not know the key."""
    radio = Radio.objects.create(code="a")

    assert run("UPDATE crm_radio SET code = 'b'") == 1
    assert_whole(Radio.objects.get(stock_lifecycle=radio.stock_lifecycle))


def test_what_no_stock_hangs_on_is_free() -> None:
    """Other columns are not fenced."""
    Lead.objects.create()

    assert plain(Lead).update(note="x", amount=5) == 1


def test_many_rows_of_which_one_is_wrong() -> None:
    """One wrong row stops the statement, whichever it is."""
    leads = [Lead.objects.create(temperature=state) for state in ("won", "hot", "won")]

    assert len(leads) == 3
    refused("a state", lambda: run("UPDATE crm_lead SET temperature = 'won'"))


INSERTS: dict[str, Callable[[], Any]] = {
    "plain bulk_create": lambda: plain(Lead).bulk_create([Lead(note="x")]),
    "with a lifecycle": lambda: plain(Lead).bulk_create(
        [Lead(stock_lifecycle="00000000-0000-0000-0000-000000000001", stock_version=1)]
    ),
    "with a version of nothing": lambda: plain(Lead).bulk_create(
        [Lead(stock_lifecycle="00000000-0000-0000-0000-000000000001")]
    ),
    "a historical model": lambda: historical(Lead).objects.create(temperature="hot"),
    "a native upsert": lambda: plain(Lead).bulk_create(
        [Lead(pk=1, note="x")], update_conflicts=True, update_fields=["note"], unique_fields=["id"]
    ),
    "raw SQL": lambda: run(
        "INSERT INTO crm_lead (channel, amount, note, temperature, stock_version) "
        "VALUES ('web', 0, '', 'hot', 0)"
    ),
}


@pytest.mark.parametrize("name", INSERTS)
def test_an_insert_without_event(name: str) -> None:
    """No object comes from nowhere."""
    refused("a row of crm_lead would be inserted", INSERTS[name])
    works_without_the_fence(INSERTS[name])


def dumped(tmp_path: Path, label: str) -> Path:
    """Return a fixture of a lead of another lifecycle and key than the one that there is."""
    lead, fixture = Lead.objects.get(), tmp_path / "leads.json"
    call_command("dumpdata", label, output=str(fixture), verbosity=0)
    entries = json.loads(fixture.read_text().replace(str(lead.stock_lifecycle), str(uuid4())))
    for entry in entries:
        entry["pk"] += 1000
    fixture.write_text(json.dumps(entries))
    return fixture


def test_loaddata(tmp_path: Path) -> None:
    """A fixture of rows alone is refused."""
    Lead.objects.create()
    fixture = dumped(tmp_path, "crm.Lead")
    refused(
        "a row of crm_lead would be ins", lambda: call_command("loaddata", fixture, verbosity=0)
    )
    works_without_the_fence(lambda: call_command("loaddata", fixture, verbosity=0))


def test_loaddata_after_the_events(tmp_path: Path) -> None:
    """A fixture whose rows have their events already is loaded."""
    Lead.objects.create()
    fixture = dumped(tmp_path, "crm.Lead")
    event = Event.objects.get()
    event.pk = None
    event.originator = json.loads(fixture.read_text())[0]["fields"]["stock_lifecycle"]
    event.save(force_insert=True)
    call_command("loaddata", fixture, verbosity=0)

    for lead in Lead.objects.all():
        assert [entry.kind for entry in lead.stock_history()] == ["entered"]
    assert Lead.objects.count() == 2


def test_loaddata_over_a_row(tmp_path: Path) -> None:
    """A fixture that would change a row's state is refused."""
    Lead.objects.create()
    fixture = tmp_path / "leads.json"
    call_command("dumpdata", "crm.Lead", output=str(fixture), verbosity=0)
    fixture.write_text(fixture.read_text().replace('"hot"', '"won"'))
    refused("a state", lambda: call_command("loaddata", fixture, verbosity=0))


DELETES: dict[str, Callable[[], Any]] = {
    "raw SQL": lambda: run("DELETE FROM crm_lead"),
    "_raw_delete": lambda: plain(Lead)._raw_delete("default"),
    "a historical model": lambda: historical(Lead).objects.all().delete(),
}


@pytest.mark.parametrize("name", DELETES)
def test_a_deletion_without_event(name: str) -> None:
    """No object goes without a word."""
    Lead.objects.create()
    refused("a row of crm_lead would be deleted", DELETES[name])
    works_without_the_fence(DELETES[name])


def test_each_field_must_be_closed() -> None:
    """An object with two fields does not leave by one door."""
    order = Order.objects.create()
    run(
        "INSERT INTO stockflow_event (application, originator, version, topic, model, field, kind, "
        "source, occurred_at, actor, reason, correlation) VALUES ('stockflow', %s, 3, "
        "'stockflow:left', 'crm.order', 'payment', 'left', 'due', 0, '', '', '')",
        str(order.stock_lifecycle),
    )
    refused("a row of crm_order would be deleted", lambda: run("DELETE FROM crm_order"))


@pytest.mark.parametrize("how", ["object", "queryset", "cascade"])
def test_django_s_own_deletions_pass(how: str) -> None:
    """delete() of an object, of a queryset and through a cascade records and goes."""
    tag = Tag.objects.create(name="a")
    label = Labelled.objects.create(tag=tag)
    {"object": label.delete, "queryset": Labelled.objects.all().delete, "cascade": tag.delete}[
        how
    ]()

    assert not Labelled.objects.exists()
    assert Event.objects.filter(kind="left").count() == 1


@POSTGRESQL_ONLY
@pytest.mark.parametrize("sql", ["TRUNCATE crm_lead CASCADE", "TRUNCATE crm_rep CASCADE"])
def test_truncate(sql: str) -> None:
    """Not all at once either, nor from behind."""
    lead = Lead.objects.create()
    connection.check_constraints()
    refused("TRUNCATE of crm_(big)?lead would leave", lambda: run(sql))
    lead.delete()


@SQLITE_ONLY
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
def test_replace(verb: str) -> None:
    """REPLACE deletes without a trigger, so it is stopped before it begins."""
    lead = Lead.objects.create()
    columns = "id, channel, amount, note, temperature, stock_version, stock_lifecycle"
    sql = f"{verb} INTO crm_lead ({columns}) SELECT {columns} FROM crm_lead WHERE id = {lead.pk}"
    refused("a row of crm_lead would be replaced", lambda: run(sql))
    works_without_the_fence(lambda: run(sql))


@SQLITE_ONLY
@pytest.mark.parametrize("column", ["id", "stock_lifecycle"])
def test_update_or_replace(column: str) -> None:
    """An UPDATE may replace another row too, by taking its key or its lifecycle."""
    taken, lead = Lead.objects.create(), Lead.objects.create()
    value = taken.pk if column == "id" else taken.stock_lifecycle.hex
    sql = f"UPDATE OR REPLACE crm_lead SET {column} = '{value}' WHERE id = {lead.pk}"
    refused("a row of crm_lead would be replaced", lambda: run(sql))
    with transaction.atomic():
        installing.take_down("default", ["overwrite", "update"])
        run(sql)
        left = Lead.objects.count()
        transaction.set_rollback(True)

    assert left == 1


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("change", "clashing"),
    [
        pytest.param("code = 'a'", "code, worn, NULL", id="condition"),
        pytest.param("holder = 'aNN'", "'z', worn, holder", id="expression"),
    ],
)
def test_replace_among_some_rows(change: str, clashing: str) -> None:
    """Also where uniqueness holds under a condition, or of what is made of columns."""
    Badge.objects.create(code="a", holder="Ann")
    badge = Badge.objects.create(code="b", holder="Bo")
    sql = f"UPDATE OR REPLACE crm_badge SET {change} WHERE id = {badge.pk}"
    refused("a row of crm_badge would be replaced", lambda: run(sql))
    with transaction.atomic():
        installing.take_down("default", ["overwrite"])
        run(sql)
        left = Badge.objects.count()
        transaction.set_rollback(True)
    sql = (
        "REPLACE INTO crm_badge (code, worn, holder, state, stock_version, stock_lifecycle) "
        f"SELECT {clashing}, state, stock_version, '{UUID(int=1).hex}' FROM crm_badge "
        f"WHERE id = {badge.pk}"
    )
    refused("a row of crm_badge would be replaced", lambda: run(sql))

    assert left == 1


def test_what_is_unique_among_others_only_is_free() -> None:
    """Rows outside the condition, the row itself and what is not the same clash with nothing."""
    worn = Badge.objects.create(code="a", holder="Ann")
    for code, is_worn in (("a", False), ("a", False), ("", True), ("", True), ("100%", True)):
        Badge.objects.create(code=code, is_worn=is_worn)
    Badge.objects.create(code="100%", holder="Ann", is_worn=False)
    worn.holder = "ann"
    worn.off()
    worn.save()
    Badge.objects.filter(pk=worn.pk).update(code="a", holder="ANN")

    assert Badge.objects.count() == 7


@SQLITE_ONLY
def test_a_clash_is_looked_up() -> None:
    """By the index of what is unique, not by reading the table."""
    fenced = next(t for t in fenced_tables("default") if t.model is Badge)
    where = Clashes(fenced, "default").meets().replace("NEW.", "b.")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN SELECT {where} FROM crm_badge b WHERE id = 1")
        plan = [row[3] for row in cursor.fetchall()]

    assert not [step for step in plan if step.startswith("SCAN crm_badge")]
    assert [step for step in plan if "INDEX crm_badge_worn" in step]
    assert [step for step in plan if "INDEX crm_badge_holder" in step]


@pytest.mark.parametrize("change", ["state = 'ON'", "shelf = 'A'"])
def test_capitals_are_another_value(change: str) -> None:
    """Also where the column's collation says that they are no matter."""
    if connection.vendor == "postgresql":
        run(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = off)"
        )
        for column in ("state", "shelf"):
            run(f'ALTER TABLE crm_folder ALTER {column} TYPE varchar(50) COLLATE "blind"')
    folder = Folder.objects.create()
    refused("a state", lambda: run(f"UPDATE crm_folder SET {change}"))
    with fence_down():
        run(f"UPDATE crm_folder SET {change}")
    found = comparing.first("default", 10)
    with fence_down():
        run("UPDATE crm_folder SET state = 'on', shelf = 'a'")

    assert [(one.model, one.key) for one in found] == [("crm.Folder", str(folder.pk))]
    assert_whole(folder)


def test_a_column_with_a_collation_is_written() -> None:
    """One by one and together, created, moved, reclassified and deleted."""
    folder = Folder.objects.create()
    folder.off()
    folder.save()
    folder.shelf = "A"
    folder.save()
    folder.shout("a")
    folder.save()
    Folder.objects.bulk_create([Folder(), Folder(shelf="B")])
    moved = Folder.objects.transition("off").moved
    shouted = Folder.objects.filter(state="off").transition("shout", shelf="b").moved
    whole = comparing.first("default", 10)
    assert_whole(folder)
    folder.delete()
    Folder.objects.all().delete()

    assert (moved, shouted, whole) == (2, 2, [])
    assert not Folder.objects.exists()


def test_a_child_s_state() -> None:
    """The child's table has its state, the root's its version."""
    BigLead.objects.create()
    refused("a state", lambda: run("UPDATE crm_biglead SET stage = 'offered'"))
    refused("a state", lambda: run("UPDATE crm_biglead SET budget = 5"))
    refused("a row of crm_biglead would be deleted", lambda: run("DELETE FROM crm_biglead"))
    works_without_the_fence(lambda: run("UPDATE crm_biglead SET budget = 5, stage = 'offered'"))


def test_a_child_made_of_its_parent() -> None:
    """A child's row beside a parent that has a history of its own brings no event."""
    lead = Lead.objects.create()
    refused(
        "a row of crm_biglead would be inserted",
        lambda: run("INSERT INTO crm_biglead VALUES (%s, 0, 'draft', NULL, NULL)", lead.pk),
    )


def test_children_and_proxies_are_saved_as_ever() -> None:
    """The fence stands in nobody's way who records."""
    big, hot = BigLead.objects.create(), HotLead.objects.create()
    big.budget = 7
    big.offer()
    big.cool()
    big.save()
    hot.cool()
    hot.save()

    assert_whole(big)
    assert_whole(hot)
    assert big.delete()[0] == 2
    assert hot.delete()[0] == 1


@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
def test_each_trigger_is_needed(operation: str) -> None:
    """With one trigger gone, what it stops goes through: each earns its place."""
    does: dict[str, Callable[[], Any]] = {
        "insert": INSERTS["raw SQL"],
        "update": lambda: CHANGES["raw SQL"](lead),
        "delete": DELETES["raw SQL"],
    }
    lead = Lead.objects.create()
    with transaction.atomic():
        connection.check_constraints()
        installing.take_down("default", [operation])
        before = table(Lead)
        does[operation]()
        lost = before != table(Lead)
        transaction.set_rollback(True)

    assert lost
    with pytest.raises(IntegrityError, match="stockflow: "), transaction.atomic():
        does[operation]()

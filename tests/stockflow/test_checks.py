"""System checks: each with an id, a text that names the place, and a hint."""

from collections.abc import Callable
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.core import checks as django_checks
from django.db import connection, connections, models
from django.test.utils import isolate_apps

from stockflow import checks
from stockflow.models import StockField, StockflowManager, StockflowModel, transition
from tests.crm.models import Rep


@pytest.fixture(name="checked")
def _checked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Check the models that a function declares."""

    def check(declare: Callable[[], object]) -> list[Any]:
        with isolate_apps("tests.crm") as isolated:
            declare()
            monkeypatch.setattr(checks, "apps", isolated)
            return checks.check_models(None)

    return check


def _ids(messages: list[Any]) -> list[str]:
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


@pytest.mark.django_db
def test_the_models_of_the_tests_pass() -> None:
    """What the suite uses is declared as it should be."""
    assert checks.check_models(None) == []
    assert not [
        m for m in django_checks.run_checks(databases=["default"]) if "stockflow" in (m.id or "")
    ]


def test_a_stock_field_on_a_plain_model(checked: Any) -> None:
    """E002: nothing would be recorded."""

    def declare() -> None:
        class Plain(models.Model):
            state = StockField(default="on")

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.E002"]
    assert "crm.Plain.state is a StockField on a model that records nothing" in message.msg


def test_a_manager_without_our_queryset(checked: Any) -> None:
    """W003: its update() would pass the log by."""

    def declare() -> None:
        class Managed(StockflowModel):
            state = StockField(default="on")
            everything = models.Manager["Managed"]()

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.W003"]
    assert "crm.Managed.everything" in message.msg


def test_a_facet_that_does_not_resolve(checked: Any) -> None:
    """E004: says what there is instead."""

    def declare() -> None:
        class Faceted(StockflowModel):
            channel = models.CharField(max_length=5)
            state = StockField(default="on", facets=["chanel"])

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.E004"]
    assert "has no field 'chanel' (it has: " in message.msg


def test_a_facet_in_the_table_of_a_parent_without_log(checked: Any) -> None:
    """E004: the parent's own save would change it, and neither fence nor verify would see it."""

    def declare() -> None:
        class Base(models.Model):
            title = models.CharField(max_length=5)
            owner = models.ForeignKey(Rep, on_delete=models.CASCADE)

            class Meta:
                app_label = "crm"

        class Kid(Base, StockflowModel):
            kind = models.CharField(max_length=5)
            state = StockField(default="on", facets=["kind", "title", "owner__team"])
            objects = StockflowManager()

            class Meta:
                app_label = "crm"

    messages = checked(declare)
    assert _ids(messages) == ["stockflow.E004"] * 2
    assert "'title' is a column of crm.Base, which is no StockflowModel" in messages[0].msg
    assert "'owner' is a column of crm.Base" in messages[1].msg


class Lower(models.CharField[str, str]):
    """A column that spells its value while it is saved."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        return str(super().pre_save(model_instance, add)).lower()


@pytest.mark.parametrize(
    ("column", "by"),
    [
        pytest.param(models.DateField(auto_now_add=True), "auto_now_add", id="auto_now_add"),
        pytest.param(models.DateField(auto_now=True), "auto_now", id="auto_now"),
        pytest.param(models.CharField(max_length=5, db_default="a"), "db_default", id="db_default"),
        pytest.param(Lower(max_length=5), "Lower.pre_save()", id="own"),
        pytest.param(
            models.CharField(max_length=5, default="a", db_default="a"), None, id="both-defaults"
        ),
        pytest.param(models.DateField(), None, id="date"),
    ],
)
def test_a_facet_that_is_set_while_saving(checked: Any, column: Any, by: str | None) -> None:
    """E004: its event is written before, so that no object could be created."""

    def declare() -> None:
        class Late(StockflowModel):
            late = column.clone()
            state = StockField(default="on", facets=["late"])

            class Meta:
                app_label = "crm"

    messages = checked(declare)
    assert _ids(messages) == (["stockflow.E004"] if by else [])
    assert not by or f"{by} gives 'late' its value while it is saved" in messages[0].msg


def test_a_source_that_nothing_leads_to(checked: Any) -> None:
    """W005: a misspelt source."""

    def declare() -> None:
        class Misspelt(StockflowModel):
            state = StockField(default="on")

            @transition(state, source="onn", target="off")
            def go(self) -> None: ...

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.W005"]
    assert "'go' leaves 'onn'" in message.msg


def test_a_target_that_is_no_choice(checked: Any) -> None:
    """E006: a misspelt target."""

    def declare() -> None:
        class Chosen(StockflowModel):
            state = StockField(default="on", choices=[("on", "On"), ("off", "Off")])

            @transition(state, source="on", target="of")
            def go(self) -> None: ...

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.E006"]
    assert "'of'" in message.msg


def test_a_decay_from_anywhere(checked: Any) -> None:
    """E007: it would start itself again for ever."""

    def declare() -> None:
        class Endless(StockflowModel):
            state = StockField(default="on")

            @transition(state, source="*", target="off", after=timedelta(days=1))
            def go(self) -> None: ...

            class Meta:
                app_label = "crm"

    assert _ids(checked(declare)) == ["stockflow.E007"]


def test_a_decay_with_required_arguments(checked: Any) -> None:
    """E008: the schedule gives none."""

    def declare() -> None:
        class Demanding(StockflowModel):
            state = StockField(default="on")

            @transition(state, source="on", target="off", after=timedelta(days=1))
            def go(self, why: str, *, how: str, also: str = "") -> None: ...

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.E008"]
    assert "requires why, how," in message.msg


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param({"after": models.F("size")}, ["stockflow.E016"], id="number-without-unit"),
        pytest.param({"after": models.F("gone")}, ["stockflow.E016"], id="no-field"),
        pytest.param({"after": models.F("wait_days")}, [], id="number-with-unit"),
        pytest.param({"after": models.F("pause")}, [], id="duration"),
        pytest.param({"on_false": "shrug"}, ["stockflow.E017"], id="policy"),
        pytest.param({"restarts_clock": False}, ["stockflow.E018"], id="clock"),
    ],
)
def test_what_a_decay_can_be_told(checked: Any, options: Any, found: list[str]) -> None:
    """E016 to E018: a delay by a field that is none, a policy that is none, a clock that stays."""

    def declare() -> None:
        class Delayed(StockflowModel):
            size = models.IntegerField(default=0)
            wait_days = models.IntegerField(default=0)
            pause = models.DurationField(null=True)
            state = StockField(default="on")

            @transition(state, source="on", target="off", **{"after": timedelta(days=1), **options})
            def go(self) -> None: ...

            class Meta:
                app_label = "crm"

    assert _ids(checked(declare)) == found


def test_a_model_without_a_field(checked: Any) -> None:
    """E010: nothing to record."""

    def declare() -> None:
        class Idle(StockflowModel):
            class Meta:
                app_label = "crm"

    assert _ids(checked(declare)) == ["stockflow.E010"]


def test_a_key_of_several_columns(checked: Any) -> None:
    """E020: a save, the fence and a deletion go by one."""

    def declare() -> None:
        class Paired(StockflowModel):
            pk = models.CompositePrimaryKey("left", "right")
            left = models.IntegerField()
            right = models.IntegerField()
            state = StockField(default="on")

            class Meta:
                app_label = "crm"

    (message,) = checked(declare)
    assert _ids([message]) == ["stockflow.E020"]
    assert "crm.Paired has a CompositePrimaryKey" in message.msg


def test_instants_without_a_zone(settings: Any) -> None:
    """E021: SQLite would refuse each save, and nobody would know why."""
    before = checks.check_instants(None)
    settings.USE_TZ = False

    assert before == []
    assert _ids(checks.check_instants(None)) == ["stockflow.E021"]


def test_both_state_machine_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """E001: django-fsm beside django-fsm-2."""
    alone = checks.check_packages(None)
    monkeypatch.setattr(metadata, "distribution", lambda name: name)

    assert alone == []
    assert _ids(checks.check_packages(None)) == ["stockflow.E001"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        pytest.param({}, ["stockflow.W011", "stockflow.W012"], id="bare"),
        pytest.param({"transaction_mode": "immediate"}, ["stockflow.W012"], id="immediate"),
        pytest.param(
            {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
            [],
            id="both",
        ),
    ],
)
def test_sqlite_files(tmp_path: Path, options: dict[str, Any], ids: list[str]) -> None:
    """W011 and W012: IMMEDIATE and WAL."""
    from django.db.backends.sqlite3.base import DatabaseWrapper

    default = {**connections["default"].settings_dict, "NAME": tmp_path / "x.sqlite3"}
    bare = DatabaseWrapper({**default, "OPTIONS": options, "TEST": {}}, "bare")
    try:
        found = list(checks._check_sqlite("bare", bare))
    finally:
        bare.close()

    assert _ids(found) == ids


@pytest.mark.django_db
def test_the_database_in_use_passes() -> None:
    """And without a database nothing is asked of one."""
    assert checks.check_databases(None, databases=["default"]) == []
    assert checks.check_databases(None) == []
    assert connection.vendor in {"sqlite", "postgresql"}

"""System checks: what would fail later, said at start."""

import inspect
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any, get_args

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models

from stockflow.domain.decay import Attribute, OnFalse
from stockflow.domain.machine import ANY, ANY_OTHER, Rule
from stockflow.errors import InvalidDeclaration
from stockflow.facets import resolve_facet
from stockflow.fields import StockField
from stockflow.machines import machine_of
from stockflow.managers import StockflowQuerySet
from stockflow.subjects import stock_fields

Messages = Iterator[CheckMessage]


@register("stockflow")
def check_packages(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001: both django-fsm and django-fsm-2 are installed, and share one import name."""
    try:
        metadata.distribution("django-fsm")
    except metadata.PackageNotFoundError:
        return []
    return [
        Error(
            "Both django-fsm and django-fsm-2 are installed, and only one of them can be imported.",
            hint="pip uninstall django-fsm django-fsm-2, then pip install django-fsm-2.",
            id="stockflow.E001",
        )
    ]


@register("stockflow")
def check_instants(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """E021: each instant is kept in UTC, and a naive one is of no zone."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False, and stockflow writes instants that know their zone.",
            hint="Set USE_TZ = True.",
            id="stockflow.E021",
        )
    ]


@register("stockflow")
def check_models(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that a model's declaration can get wrong."""
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    chosen = None if app_configs is None else {config.label for config in app_configs}
    messages: list[CheckMessage] = []
    for model in apps.get_models():
        if chosen is not None and model._meta.app_label not in chosen:
            continue
        if issubclass(model, StockflowModel):
            messages += [*_check_manager(model), *_check_key(model)]
            for field in stock_fields(model):
                messages += [*_check_facets(model, field), *_check_machine(model, field)]
        elif fields := stock_fields(model):
            messages += _check_base(model, fields[0])
    return messages


def _check_base(model: type[models.Model], field: StockField) -> Messages:
    yield Error(
        f"{model._meta.label}.{field.name} is a StockField on a model that records nothing.",
        hint="Make the model a subclass of stockflow.models.StockflowModel.",
        obj=model,
        id="stockflow.E002",
    )


def _check_manager(model: type[models.Model]) -> Messages:
    for manager in model._meta.managers:
        if not isinstance(manager.get_queryset(), StockflowQuerySet):
            yield Caution(
                f"The manager {model._meta.label}.{manager.name} does not use stockflow's queryset, "
                "so its update() could change states without an event.",
                hint="Derive its queryset from stockflow.models.StockflowQuerySet.",
                obj=model,
                id="stockflow.W003",
            )
    if not stock_fields(model):
        yield Error(
            f"{model._meta.label} is a StockflowModel without a StockField: nothing is recorded.",
            hint="Add a StockField, or derive it from models.Model.",
            obj=model,
            id="stockflow.E010",
        )


def _check_key(model: type[models.Model]) -> Messages:
    if isinstance(model._meta.pk, models.CompositePrimaryKey):
        yield Error(
            f"{model._meta.label} has a CompositePrimaryKey, and what keeps a row with its log goes "
            "by one column.",
            hint="Give it a key of one column, and a UniqueConstraint of the others.",
            obj=model,
            id="stockflow.E020",
        )


def _check_facets(model: type[models.Model], field: StockField) -> Messages:
    for lookup in field.facet_lookups:
        try:
            resolve_facet(model, lookup)
        except InvalidDeclaration as error:
            yield Error(
                str(error),
                hint=f"Mend facets=[...] of {model._meta.label}.{field.name}.",
                obj=model,
                id="stockflow.E004",
            )


def _check_machine(model: type[models.Model], field: StockField) -> Messages:
    machine = machine_of(model, field.name)
    name, reachable = f"{model._meta.label}.{field.name}", machine.reachable()
    named = reachable | set(machine.choices)
    for rule in machine.rules:
        yield from _check_delay(model, name, rule)
        # A computed target, or a state given at creation, may lead anywhere.
        is_dead = rule.source not in named and rule.source not in (ANY, ANY_OTHER)
        if is_dead and not machine.is_open:
            yield Caution(
                f"{name}: {rule.transition!r} leaves {rule.source!r}, a state that no transition, "
                "default or choice names.",
                hint=f"It is misspelt, or belongs into choices. Known: {_listed(named)}.",
                obj=model,
                id="stockflow.W005",
            )
    for state in sorted(reachable - set(machine.choices)) if machine.choices else ():
        yield Error(
            f"{name}: the state {state!r} is the default or a transition's target, but no choice.",
            hint=f"It is misspelt, or add it to choices: {_listed(machine.choices)}.",
            obj=model,
            id="stockflow.E006",
        )


def _check_delay(model: type[models.Model], name: str, rule: Rule) -> Messages:
    if rule.delay is None:
        return
    yield from _check_options(model, name, rule)
    if rule.source == ANY or (rule.source == ANY_OTHER and rule.targets is None):
        yield Error(
            f"{name}: the decay {rule.transition!r} leaves {rule.source!r}, which contains its own "
            "target: it would start itself again for ever.",
            hint="Name its sources.",
            obj=model,
            id="stockflow.E007",
        )
    required = [
        parameter.name
        for parameter in list(_parameters(model, rule.transition))[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        yield Error(
            f"{name}: the decay {rule.transition!r} requires {', '.join(required)}, "
            "but the schedule calls it without arguments.",
            hint="Give these defaults.",
            obj=model,
            id="stockflow.E008",
        )


_MEASURES = (models.DurationField, models.DateTimeField)


def _check_options(model: type[models.Model], name: str, rule: Rule) -> Messages:
    decay = f"{name}: the decay {rule.transition!r}"
    if isinstance(rule.delay, Attribute) and not _is_measure(model, rule.delay):
        units = ", ".join(Attribute.UNITS)
        yield Error(
            f"{decay} is due by F({rule.delay.name!r}), which is no field that says how long or when.",
            hint="Name a DurationField, a DateTimeField, or a field of whole numbers whose name ends "
            f"with a unit: {units}.",
            obj=model,
            id="stockflow.E016",
        )
    if rule.on_false not in get_args(OnFalse):
        yield Error(
            f"{decay} has on_false={rule.on_false!r}.",
            hint=f"Give one of {', '.join(get_args(OnFalse))}.",
            obj=model,
            id="stockflow.E017",
        )
    if not rule.restarts_clock:
        yield Error(
            f"{decay} has restarts_clock=False, so that it would be due again at once.",
            hint="Only a transition without after= can leave the clock alone.",
            obj=model,
            id="stockflow.E018",
        )


def _is_measure(model: type[models.Model], delay: Attribute) -> bool:
    try:
        field = model._meta.get_field(delay.name)
    except FieldDoesNotExist:
        return False
    is_number = isinstance(field, models.IntegerField) and delay.unit is not None
    return is_number or isinstance(field, _MEASURES)


def _parameters(model: type[models.Model], method: str) -> Iterator[inspect.Parameter]:
    yield from inspect.signature(inspect.unwrap(getattr(model, method))).parameters.values()


@register("stockflow", "database")
def check_databases(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What the databases with a log must be able to do."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "sqlite":
            messages += _check_sqlite(alias, connection)
        elif connection.vendor != "postgresql":
            messages.append(
                Error(
                    f"The database {alias!r} is {connection.display_name}; the log needs "
                    "PostgreSQL or SQLite.",
                    id="stockflow.E009",
                )
            )
    return messages


def _check_sqlite(alias: str, connection: Any) -> Messages:
    options = connection.settings_dict.get("OPTIONS", {})
    if str(options.get("transaction_mode")).upper() != "IMMEDIATE":
        yield Caution(
            f"The SQLite database {alias!r} does not begin transactions IMMEDIATE: a transaction "
            "that reads first fails at once when another writes.",
            hint="Set OPTIONS = {'transaction_mode': 'IMMEDIATE'} in DATABASES.",
            id="stockflow.W011",
        )
    if connection.is_in_memory_db():
        return
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        yield Caution(
            f"The SQLite database {alias!r} is in journal mode {mode!r}: readers and the writer "
            "block each other.",
            hint="Set OPTIONS = {'init_command': 'PRAGMA journal_mode=WAL'} in DATABASES.",
            id="stockflow.W012",
        )


def _listed(states: Any) -> str:
    return ", ".join(map(repr, sorted(states)))

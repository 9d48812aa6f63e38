"""Projections that are declared: each event adds whole numbers to rows, by the database alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connections
from django.db.models import (
    Count,
    F,
    IntegerField,
    Q,
    Sum,
    UniqueConstraint,
    Value,
)

from stockflow import conf
from stockflow.domain.events import Erased
from stockflow.projections.base import Projection
from stockflow.projections.batches import events_between
from stockflow.projections.local_days import LocalDay, days_of, use, with_rules, zone_of

if TYPE_CHECKING:
    from django.db import models

    from stockflow.projections.models import Generation


@dataclass(frozen=True)
class Adds:
    """What an event adds, and to which row.

    Expressions are Django's, over the columns of :class:`stockflow.models.Event`.

    Attributes:
        numbers: For each column of the row, a whole number or an expression of one; NULL adds
            nothing.
        to: For each column that identifies the row, an expression; never NULL.
        where: Of which events, among those that the projection reads.
    """

    numbers: Mapping[str, Any]
    to: Mapping[str, Any]
    where: Q = field(default_factory=Q)


class AdditiveProjection(Projection):
    """Rows of sums that each event adds to: declared, and folded by a few statements for a batch.

    ::

        @register_projection
        class EntriesByChannel(AdditiveProjection):
            name = "crm.entries_by_channel"
            read_models = [ChannelDay]
            reads = Reads(models=["crm.Lead"], kinds=["entered", "moved"])
            adds = [
                Adds(
                    {"entries": 1},
                    to={"day": LocalDay(), "channel": TargetFacet("channel")},
                    where=Q(target="hot"),
                ),
            ]

    Its one read model has a unique constraint over ``generation`` and the columns that identify a
    row. All others hold whole numbers, which begin at 0.

    Attributes:
        adds: What the events add; all entries identify rows by the same columns.
    """

    adds: ClassVar[Sequence[Adds]]

    def zone(self) -> str:
        return with_rules(conf.time_zone()) if self._has_days else ""

    def compared(self, rows: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        # What was added and taken away is a row of 0, or none where that was in one batch.
        return rows.exclude(**dict.fromkeys(self._numbers, 0))

    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        from stockflow.projections.reading import between  # noqa: PLC0415  needs the app registry

        log = between(self.reads, after, until, using=using)
        # Nothing happens to an object whose history is erased.
        if Erased.kind not in self.reads.kinds and Erased.TOPIC not in self.reads.topics:
            log = log.exclude(kind=Erased.kind)
        with connections[using].cursor() as cursor:
            if self._has_days:
                zone = zone_of(generation.zone)
                events = events_between(cursor, after, until)
                use(days_of(cursor, f"SELECT e.occurred_at AS at {events}", zone))
            for each in self.adds:
                cursor.execute(*self._statement(each, log, generation.pk))

    def _statement(self, adds: Adds, log: Any, generation: int) -> tuple[str, list[Any]]:
        """Return the insert that adds up what the events of *log* add to rows."""
        from stockflow.projections.reading import compiled  # noqa: PLC0415  needs the app registry

        sums = {f"sum_{name}": Sum(_expression(number)) for name, number in adds.numbers.items()}
        keys = {f"key_{name}": _expression(adds.to[name]) for name in self._keys}
        counted = log.filter(adds.where).order_by().values(**keys)
        sql, values = compiled(counted.annotate(**sums, counted=Count("pk")))
        quote, model = connections[log.db].ops.quote_name, self.models()[0]
        fields = {f.name: f for f in model._meta.concrete_fields}
        column = {name: quote(str(fields[name].column)) for name in self._columns}
        # A batch whose numbers are all NULL has NULL for a sum, which would spoil the row's.
        found = [f"q.{quote(alias)}" for alias in keys]
        found += [f"coalesce(q.{quote(alias)}, 0)" for alias in sums]
        found += ["0"] * (len(self._numbers) - len(sums))
        names = [*self._keys, *adds.numbers, *(n for n in self._numbers if n not in adds.numbers)]
        conflict = ", ".join(["generation", *(column[name] for name in self._keys)])
        added = ", ".join(
            f"{column[name]} = kept.{column[name]} + excluded.{column[name]}"
            for name in adds.numbers
        )
        return (
            f"INSERT INTO {quote(model._meta.db_table)} AS kept"
            f" (generation, {', '.join(column[name] for name in names)})"
            f" SELECT %s, {', '.join(found)} FROM ({sql}) q WHERE q.counted > 0"
            f" ON CONFLICT ({conflict}) DO UPDATE SET {added}"
        ), [generation, *values]

    @property
    def _keys(self) -> list[str]:
        return list(self.adds[0].to)

    @property
    def _numbers(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.adds for name in each.numbers))

    @property
    def _columns(self) -> list[str]:
        return [*self._keys, *self._numbers]

    @property
    def _has_days(self) -> bool:
        expressions = (
            e for each in self.adds for e in (*each.to.values(), *each.numbers.values(), each.where)
        )
        return any(
            isinstance(part, LocalDay)
            for expression in expressions
            if hasattr(expression, "flatten")
            for part in expression.flatten()
        )

    def validate(self) -> None:
        super().validate()
        if not getattr(self, "adds", ()) or not all(each.numbers for each in self.adds):
            self._refuse("needs adds: what each event adds to which row")
        if len(self.read_models) != 1:
            self._refuse(f"needs one read model, not {len(self.read_models)}")
        if any(set(each.to) != set(self._keys) for each in self.adds):
            self._refuse("identifies rows by different columns: give each of its adds the same to=")
        self._validate_columns(self.models()[0])

    def _validate_columns(self, model: "type[models.Model]") -> None:
        label, meta = model._meta.label, model._meta
        fields = {f.name: f for f in meta.concrete_fields if not f.primary_key}
        declared = {"generation", *self._columns}
        if declared != set(fields):
            odd = ", ".join(sorted(declared.symmetric_difference(fields)))
            self._refuse(f"and its read model {label} differ in their columns: {odd}")
        for name in self._numbers:
            if not isinstance(fields[name], IntegerField):
                self._refuse(
                    f"adds to {label}.{name}, which is no integer field: sums of others depend on "
                    "the order (keep amounts in cents)"
                )
            if fields[name].null:
                self._refuse(
                    f"adds to {label}.{name}, which may be NULL, and NULL stays NULL whatever is "
                    "added: let it begin at 0"
                )
        if nullable := [name for name in self._keys if fields[name].null]:
            self._refuse(
                f"identifies rows by {nullable[0]}, which may be NULL: NULLs are never equal"
            )
        unique = [
            set(one.fields)
            for one in meta.constraints
            if isinstance(one, UniqueConstraint) and one.condition is None
        ]
        unique += [set(names) for names in meta.unique_together]
        if {"generation", *self._keys} not in unique:
            columns = ", ".join(["generation", *self._keys])
            self._refuse(f"needs a UniqueConstraint over ({columns}) of {label}")


def _expression(given: Any) -> Any:
    if isinstance(given, str):
        return F(given)
    return given if hasattr(given, "resolve_expression") else Value(given)

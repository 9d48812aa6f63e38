"""The read tables: what the events add up to, one build of it beside the other."""

from typing import Any

from django.db import models

from stockflow.projections.base import projection_of
from stockflow.projections.event_calls import (  # noqa: F401  found here by Django
    CallCheckpoint,
    EventCall,
)
from stockflow.projections.records import (
    FlowFacetRecord,
    FlowRecord,
    StockFacetRecord,
    StockRecord,
)

__all__ = [
    "FlowFacetRecord",
    "FlowRecord",
    "ParkedEvent",
    "ReadModel",
    "StockFacetRecord",
    "StockRecord",
]


class Status(models.TextChoices):
    """What a generation is there for."""

    BUILDING = "building"
    SERVING = "serving"
    RETIRED = "retired"


class Generation(models.Model):
    """One build of a projection, and how far it has read the log.

    Attributes:
        position: The checkpoint: the last position scanned. What it folded and the checkpoint
            move in one transaction.
        zone: The zone whose days it counts by, and a fingerprint of its rules.
    """

    id = models.BigAutoField(primary_key=True)
    projection = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    zone = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=Status, default=Status.BUILDING)
    position = models.BigIntegerField(default=0)

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                fields=["projection", "status"],
                condition=~models.Q(status="retired"),
                name="stockflow_generation_of_projection",
            )
        ]

    def __str__(self) -> str:
        return f"{self.projection} {self.id} ({self.status}) at {self.position}"


class Cell(models.Model):
    """A state of a field with its facet values, interned: what the rows of counts refer to.

    Attributes:
        facets: Canonical JSON text; empty where the event had none.
        digest: What makes it unique: the text may be longer than an index takes.
    """

    id = models.BigAutoField(primary_key=True)
    model = models.CharField(max_length=201)
    field = models.CharField(max_length=100)
    state = models.CharField(max_length=255)
    facets = models.TextField()
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        app_label = "stockflow_projections"

    def __str__(self) -> str:
        return f"{self.model}.{self.field} {self.state!r} {self.facets}"


class Path(models.Model):
    """A way from one cell to another by one transition, interned; cell 0 is the outside."""

    id = models.BigAutoField(primary_key=True)
    model = models.CharField(max_length=201)
    field = models.CharField(max_length=100)
    kind = models.CharField(max_length=20)
    transition = models.CharField(max_length=255)
    source = models.BigIntegerField()
    target = models.BigIntegerField()

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                fields=["source", "target", "model", "field", "kind", "transition"],
                name="stockflow_path",
            )
        ]

    def __str__(self) -> str:
        return f"{self.model}.{self.field} {self.kind}: {self.source} → {self.target}"


class FlowCount(models.Model):
    """How often a path was taken on one local day, and when, added up.

    Attributes:
        day: The number of the day in the generation's zone, as ``date.toordinal``.
        seconds: The whole seconds of the instants since 1970, added up.
        micros: The microseconds beyond them, added up: together they would overflow 64 bits.
    """

    id = models.BigAutoField(primary_key=True)
    generation = models.BigIntegerField()
    day = models.IntegerField()
    path = models.BigIntegerField()
    number = models.BigIntegerField()
    seconds = models.BigIntegerField()
    micros = models.BigIntegerField()

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                # Expressions, so that SQLite gives the index its name: reads ask for it.
                *map(models.F, ["generation", "day", "path"]),
                name="stockflow_flowcount",
            )
        ]

    def __str__(self) -> str:
        return f"path {self.path} on day {self.day}: {self.number}"


class Net(models.Model):
    """By how much a cell's level changed in a block of days, from which any level is added up.

    Attributes:
        block: The number of the block: a day's number, divided by the size of the level's blocks.
    """

    id = models.BigAutoField(primary_key=True)
    generation = models.BigIntegerField()
    level = models.SmallIntegerField()
    block = models.IntegerField()
    cell = models.BigIntegerField()
    number = models.BigIntegerField()

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                *map(models.F, ["generation", "level", "block", "cell"]), name="stockflow_net"
            )
        ]

    def __str__(self) -> str:
        return f"cell {self.cell} in block {self.block} of level {self.level}: {self.number:+}"


class Spell(models.Model):
    """One stay of one object in one state; a transition to the state itself begins another.

    Attributes:
        originator: The object's lifecycle.
        field: The stock field: an object may have several.
        cell: The state, with the facets at entry.
        version: That of the event that began it: the order of an object's stays.
        source: The state that it came from; None for the outside.
        entered: When it began, in microseconds.
        is_truncated: Whether nobody saw it begin, as of an adopted object.
        left_at: When it ended; None where it goes on.
        exit_to: The state that it went to; None for the outside, or where it goes on.
        is_censored: Whether nobody saw it end.
        span: The smallest block of days that has its beginning and its end, by
            :func:`stockflow.domain.days.span_sql`; None where it goes on.
    """

    id = models.BigAutoField(primary_key=True)
    generation = models.BigIntegerField()
    originator = models.CharField(max_length=255)
    field = models.CharField(max_length=100)
    cell = models.BigIntegerField()
    version = models.BigIntegerField()
    source = models.CharField(max_length=255, null=True)
    entered = models.BigIntegerField()
    is_truncated = models.BooleanField()
    left_at = models.BigIntegerField(null=True)
    exit_to = models.CharField(max_length=255, null=True)
    is_censored = models.BooleanField()
    span = models.BigIntegerField(null=True)

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                *map(models.F, ["generation", "originator", "field", "version"]),
                name="stockflow_spell",
            )
        ]
        indexes = [
            models.Index(fields=["generation", "cell", "left_at"], name="stockflow_spell_left"),
            models.Index(fields=["generation", "span", "cell"], name="stockflow_spell_span"),
        ]

    def __str__(self) -> str:
        return f"{self.originator} v{self.version} in cell {self.cell}"


class ParkedEvent(models.Model):
    """An event that a projection could not fold, or one of the same object behind it.

    Attributes:
        error: Why; empty for one that only waits behind another.
        parked_at: Microseconds since 1970 UTC.
    """

    id = models.BigAutoField(primary_key=True)
    generation = models.BigIntegerField()
    projection = models.CharField(max_length=100)
    position = models.BigIntegerField()
    event = models.BigIntegerField()
    originator = models.CharField("lifecycle", max_length=255)
    error = models.TextField(default="")
    parked_at = models.BigIntegerField()

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(
                fields=["generation", "position"], name="stockflow_parkedevent_position"
            )
        ]
        indexes = [
            models.Index(fields=["generation", "originator"], name="stockflow_parkedevent_object")
        ]

    def __str__(self) -> str:
        return f"{self.projection}, position {self.position} of {self.originator}"


class ReadQuerySet(models.QuerySet[Any]):
    """Rows of all generations of a read model."""

    def serving(self) -> "ReadQuerySet":
        """Narrow it to the rows of the generation that serves, in the same statement."""
        own = Generation.objects.filter(
            projection=projection_of(self.model).name, status=Status.SERVING
        )
        return self.filter(generation__in=own.values("pk"))


class ReadModel(models.Model):
    """A table of a projection of yours: each generation has rows of its own in it.

    Let its constraints and indexes begin with ``generation``: all that is asked names one.

    ::

        class ChannelDay(ReadModel):
            day = models.DateField()
            channel = models.CharField(max_length=20)
            entries = models.BigIntegerField(default=0)

            class Meta:
                constraints = [
                    models.UniqueConstraint(
                        fields=["generation", "day", "channel"], name="channel_day"
                    )
                ]

        ChannelDay.objects.serving().filter(channel="web")
    """

    generation = models.BigIntegerField(editable=False)

    objects = ReadQuerySet.as_manager()

    class Meta:
        abstract = True

"""The tables of the write side: the log and the timers."""

from django.db import models

STOCKFLOW = "stockflow"
"""The ``application`` of stock events; other ``eventsourcing`` applications have their own."""


class Kind(models.TextChoices):
    """What an event did to the object's membership."""

    ENTERED = "entered"
    MOVED = "moved"
    RECLASSIFIED = "reclassified"
    LEFT = "left"
    ADOPTED = "adopted"
    RECONCILED = "reconciled"
    ERASED = "erased"


class EventColumns(models.Model):
    """What is kept of one recorded change, which is never altered.

    For stock events the columns are the truth. Other applications of ``eventsourcing`` keep
    their stored state in ``payload`` and leave the stock columns null. Instants are whole
    microseconds since 1970 UTC; facets are canonical JSON text. There is no foreign key: the
    row is found by its lifecycle, and an event outlives it.
    """

    id = models.BigAutoField(primary_key=True)
    application = models.CharField(max_length=100, default=STOCKFLOW)
    originator = models.CharField(max_length=255)
    version = models.BigIntegerField()
    topic = models.CharField(max_length=255)
    model = models.CharField(max_length=201, null=True)
    field = models.CharField(max_length=100, null=True)
    kind = models.CharField(max_length=20, choices=Kind, null=True)
    transition = models.CharField(max_length=255, null=True)
    source = models.CharField(max_length=255, null=True)
    target = models.CharField(max_length=255, null=True)
    source_facets = models.TextField(null=True)
    target_facets = models.TextField(null=True)
    occurred_at = models.BigIntegerField(null=True)
    recorded_at = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=255, default="")
    reason = models.TextField(default="")
    correlation = models.CharField(max_length=255, default="")
    payload = models.BinaryField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.originator} v{self.version}: {self.source or 'outside'} → {self.target or 'outside'}"


class Event(EventColumns):
    """One recorded change, never altered."""

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(
                fields=["application", "originator", "version"], name="stockflow_event_version"
            )
        ]
        indexes = [
            models.Index(fields=["model", "field", "occurred_at"], name="stockflow_event_occurred")
        ]


class Unsequenced(models.Model):
    """An event that lacks its position: committed or not, its transaction wrote this row too.

    A trigger adds the row, :func:`~stockflow.eventstore.sequencer.sequence` takes it away.
    """

    event = models.BigIntegerField(primary_key=True)
    application = models.CharField(max_length=100)
    transaction_id = models.BigIntegerField()

    class Meta:
        app_label = "stockflow"

    def __str__(self) -> str:
        return f"event {self.event} of {self.application}"


class Position(models.Model):
    """An event's place in its application's log, without gaps, given once it is committed.

    Attributes:
        hash: SHA-256 over the event, its position and the hash of the position before. What the
            event says of people is in there as a digest.
        salt: Random bytes that are in that digest, so that nothing can be guessed from it.
        digest: The digest itself once what it was made from, the salt too, is erased.
    """

    event = models.BigIntegerField(primary_key=True)
    application = models.CharField(max_length=100)
    position = models.BigIntegerField()
    sequenced_at = models.BigIntegerField(help_text="Microseconds since 1970 UTC.")
    hash = models.BinaryField()
    salt = models.BinaryField(null=True)
    digest = models.BinaryField(null=True)

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(
                fields=["application", "position"], name="stockflow_position_of_application"
            )
        ]

    def __str__(self) -> str:
        return f"{self.application} {self.position}: event {self.event}"


class Snapshot(models.Model):
    """A snapshot of an aggregate of another ``eventsourcing`` application."""

    id = models.BigAutoField(primary_key=True)
    application = models.CharField(max_length=100)
    originator = models.CharField(max_length=255)
    version = models.BigIntegerField()
    topic = models.CharField(max_length=255)
    payload = models.BinaryField()

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(
                fields=["application", "originator", "version"], name="stockflow_snapshot_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.originator} v{self.version}"


class TrackedPosition(models.Model):
    """How far a consumer of the ``eventsourcing`` kind has read an application's log."""

    id = models.BigAutoField(primary_key=True)
    consumer = models.CharField(max_length=255)
    application = models.CharField(max_length=255)
    position = models.BigIntegerField()

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "application"], name="stockflow_trackedposition_of_consumer"
            )
        ]

    def __str__(self) -> str:
        return f"{self.consumer}: {self.application} {self.position}"


class ScheduledTransition(models.Model):
    """A timer: the earliest decay of one object's field, to be fired at its due instant."""

    id = models.BigAutoField(primary_key=True)
    lifecycle = models.UUIDField()
    model = models.CharField(max_length=201)
    field = models.CharField(max_length=100)
    version = models.BigIntegerField(help_text="The version that set the clock.")
    transition = models.CharField(max_length=255)
    due_at = models.BigIntegerField(help_text="Microseconds since 1970 UTC.")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    error = models.TextField(default="", db_default="")
    parked_at = models.BigIntegerField(null=True)
    retry_at = models.BigIntegerField(null=True, help_text="Not tried again before.")
    released_at = models.BigIntegerField(null=True, help_text="From when its lateness counts.")

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(fields=["lifecycle", "field"], name="stockflow_timer")
        ]
        indexes = [
            models.Index(
                fields=["due_at", "id"],
                name="stockflow_timer_due",
                condition=models.Q(parked_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.lifecycle}: {self.transition} of {self.field}"


class PeriodicRun(models.Model):
    """One run of a periodic job, for one of its periods."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    period = models.BigIntegerField(help_text="Its start: microseconds since 1970 UTC.")
    started_at = models.BigIntegerField()
    ended_at = models.BigIntegerField(null=True)
    result = models.TextField(default="")
    error = models.TextField(default="")

    class Meta:
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(fields=["name", "period"], name="stockflow_run_of_period"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(ended_at=None), name="stockflow_run_alone"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, run {self.id}"

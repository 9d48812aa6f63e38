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


class Event(models.Model):
    """One recorded change, never altered.

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
        app_label = "stockflow"
        constraints = [
            models.UniqueConstraint(
                fields=["application", "originator", "version"], name="stockflow_event_version"
            )
        ]
        indexes = [
            models.Index(fields=["model", "field", "occurred_at"], name="stockflow_event_occurred")
        ]

    def __str__(self) -> str:
        return f"{self.originator} v{self.version}: {self.source or 'outside'} → {self.target or 'outside'}"


class ScheduledTransition(models.Model):
    """A timer: the earliest decay of one object's field, to be fired at its due instant."""

    id = models.BigAutoField(primary_key=True)
    lifecycle = models.UUIDField()
    model = models.CharField(max_length=201)
    field = models.CharField(max_length=100)
    version = models.BigIntegerField(help_text="The version with which the state was entered.")
    transition = models.CharField(max_length=255)
    due_at = models.BigIntegerField(help_text="Microseconds since 1970 UTC.")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    error = models.TextField(default="", db_default="")
    parked_at = models.BigIntegerField(null=True)

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

"""The tables of event callables: how far each has read the log, and what waits to be called."""

from django.db import models


class CallCheckpoint(models.Model):
    """How far an event callable of a flow has read the log.

    Attributes:
        flow: The flow's slug.
        name: The callable's.
        position: The last position whose events were put among those to be called with.
    """

    id = models.BigAutoField(primary_key=True)
    flow = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    position = models.BigIntegerField()

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(fields=["flow", "name"], name="stockflow_callcheckpoint")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.flow} at {self.position}"


class EventCall(models.Model):
    """An event that an event callable is still to be called with; it goes once that was done.

    Attributes:
        event: The event's id.
        originator: The lifecycle of its object: later events of it wait for this one.
        attempts: How often it was tried.
        parked_at: Since when it is set aside, with its error, until a person releases it.
        retry_at: Not tried again before.
    """

    id = models.BigAutoField(primary_key=True)
    flow = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    event = models.BigIntegerField()
    originator = models.CharField(max_length=255)
    position = models.BigIntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(default="")
    parked_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "stockflow_projections"
        constraints = [
            models.UniqueConstraint(fields=["flow", "name", "event"], name="stockflow_eventcall")
        ]
        indexes = [
            models.Index(
                fields=["flow", "name", "originator", "position"],
                name="stockflow_eventcall_order",
            ),
            models.Index(fields=["flow", "name", "position"], name="stockflow_eventcall_next"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.flow} with event {self.event}"

"""The same ticket with the same columns, once for each peer: opened and closed, again and again."""

from datetime import timedelta

import django_fsm
from django.db import models
from simple_history.models import HistoricalRecords

from stockflow.models import StockField, StockflowModel, transition


class Owner(models.Model):
    """What a facet reads through a foreign key."""

    team = models.CharField(max_length=20)


class Columns(models.Model):
    """The columns that every ticket has beside its state."""

    title = models.CharField(max_length=50)
    channel = models.CharField(max_length=20)
    priority = models.IntegerField()
    amount = models.DecimalField(max_digits=9, decimal_places=2)
    owner = models.ForeignKey(Owner, on_delete=models.PROTECT, related_name="+")

    class Meta:
        abstract = True


class PlainTicket(Columns):
    """A state that is a plain column, for SQL by hand."""

    state = models.CharField(max_length=50, default="open")


class PlainMove(models.Model):
    """What SQL by hand writes of each transition."""

    ticket = models.ForeignKey(PlainTicket, on_delete=models.CASCADE)
    transition = models.CharField(max_length=50)
    source = models.CharField(max_length=50)
    target = models.CharField(max_length=50)
    at = models.DateTimeField()


class PlainEvent(models.Model):
    """What one writes with the ORM to know of each transition what our log knows."""

    ticket = models.ForeignKey(PlainTicket, on_delete=models.CASCADE)
    version = models.BigIntegerField()
    topic = models.CharField(max_length=255)
    model = models.CharField(max_length=201)
    field = models.CharField(max_length=100)
    kind = models.CharField(max_length=20)
    transition = models.CharField(max_length=255)
    source = models.CharField(max_length=255)
    target = models.CharField(max_length=255)
    source_facets = models.TextField()
    target_facets = models.TextField()
    occurred_at = models.BigIntegerField()
    recorded_at = models.BigIntegerField()
    actor = models.CharField(max_length=255, default="")
    reason = models.TextField(default="")
    correlation = models.CharField(max_length=255, default="")
    payload = models.BinaryField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ticket", "version"], name="plain_event_version")
        ]
        indexes = [
            models.Index(fields=["model", "field", "occurred_at"], name="plain_event_occurred")
        ]


class FsmTicket(Columns):
    """Bare django-fsm-2."""

    state = django_fsm.FSMField(default="open")

    class Meta:
        abstract = True

    @django_fsm.transition(state, source="open", target="closed")
    def close(self) -> None: ...

    @django_fsm.transition(state, source="closed", target="open")
    def reopen(self) -> None: ...


class BareTicket(FsmTicket):
    """Records nothing: what the others are compared with."""


class LoggedTicket(FsmTicket):
    """Recorded by django-fsm-log."""


class HistoricTicket(FsmTicket):
    """Recorded by django-simple-history."""

    history = HistoricalRecords()


class StockTicket(Columns, StockflowModel):
    """Ours, without facets."""

    state = StockField(default="open")

    @transition(state, source="open", target="closed")
    def close(self) -> None: ...

    @transition(state, source="closed", target="open")
    def reopen(self) -> None: ...


class FacetTicket(Columns, StockflowModel):
    """Ours, with two facets of its own and one that is read through a relation."""

    state = StockField(default="open", facets=["channel", "priority", "owner__team"])

    @transition(state, source="open", target="closed")
    def close(self) -> None: ...

    @transition(state, source="closed", target="open")
    def reopen(self) -> None: ...


class TimedTicket(Columns, StockflowModel):
    """Ours, with a decay: closing starts a timer, reopening ends it."""

    state = StockField(default="open")

    @transition(state, source="open", target="closed")
    def close(self) -> None: ...

    @transition(state, source="closed", target="open")
    def reopen(self) -> None: ...

    @transition(state, source="closed", target="archived", after=timedelta(days=30))
    def archive(self) -> None: ...


class DecayingTicket(Columns, StockflowModel):
    """Ours, with facets, and a decay whose method does something."""

    state = StockField(default="open", facets=["channel", "priority", "owner__team"])

    @transition(state, source="open", target="closed", after=timedelta(days=30))
    def expire(self) -> None:
        self.amount += 1


class FadingTicket(Columns, StockflowModel):
    """Ours, with facets, and a decay whose method is empty."""

    state = StockField(default="open", facets=["channel", "priority", "owner__team"])

    @transition(state, source="open", target="closed", after=timedelta(days=30))
    def expire(self) -> None: ...


class WorkingTicket(Columns, StockflowModel):
    """Ours, with facets, and methods that do something."""

    state = StockField(default="open", facets=["channel", "priority", "owner__team"])

    @transition(state, source="open", target="closed")
    def close(self) -> None:
        self.amount += 1

    @transition(state, source="closed", target="open")
    def reopen(self) -> None:
        self.amount -= 1

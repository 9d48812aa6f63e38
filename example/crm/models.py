"""Leads, the people who own them, and what is read of them."""

from datetime import timedelta
from decimal import Decimal

from django.db import models

from stockflow.models import StockField, StockflowModel, transition
from stockflow.projections.models import ReadModel


class Rep(models.Model):
    """Who owns leads."""

    name = models.CharField(max_length=50, unique=True)
    team = models.CharField(max_length=20)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Lead(StockflowModel):
    """Somebody who may buy; hot at first, and cooling."""

    channel = models.CharField(max_length=20)
    owner = models.ForeignKey(Rep, on_delete=models.PROTECT)
    amount = models.DecimalField(max_digits=9, decimal_places=2, default=0)
    temperature = StockField(default="hot", facets=["channel", "owner__team"])

    class Meta:
        ordering = ["pk"]
        permissions = [("close_lead", "Can close a lead")]

    def __str__(self) -> str:
        return f"Lead {self.pk}"

    @transition(temperature, source="hot", target="warm", after=timedelta(days=7))
    def cool(self) -> None:
        """A week without a word."""

    @transition(temperature, source="warm", target="cold", after=timedelta(days=30))
    def chill(self) -> None:
        """Another thirty days."""

    @transition(temperature, source=["warm", "cold"], target="hot")
    def rekindle(self) -> None:
        """They called back."""

    @transition(temperature, source=["hot", "warm"], target="won", permission="crm.close_lead")
    def win(self, amount: Decimal) -> None:
        """They signed, for *amount*."""
        self.amount = amount


class ChannelMonth(ReadModel):
    """How many leads of a channel arrived in a month, and how many were won."""

    month = models.DateField()
    channel = models.CharField(max_length=20)
    arrived = models.BigIntegerField(default=0)
    won = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["generation", "month", "channel"], name="crm_channelmonth_row"
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel} in {self.month:%Y-%m}"


class Journey(ReadModel):
    """The way of a lead: its states, one after the other."""

    lifecycle = models.UUIDField()
    states = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["generation", "lifecycle"], name="crm_journey_of_lead")
        ]

    def __str__(self) -> str:
        return self.states

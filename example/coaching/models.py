"""Profiles of people who are coached, their coaches, and each time that they log in."""

from datetime import timedelta

from django.db import models

from stockflow.models import StockField, StockflowModel, transition


class Coach(models.Model):
    """Who calls those who slip."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "coaches"

    def __str__(self) -> str:
        return self.name


class Profile(StockflowModel):
    """Somebody who is coached: *consistency* says how regularly they log in."""

    RAMPS = {"gentle": "Gentle", "steep": "Steep"}
    SOURCES = {"ad": "Advertisement", "friend": "A friend", "clinic": "A clinic"}
    PAY_STATES = {"trial": "On trial", "paying": "Paying", "free": "Free"}

    name = models.CharField(max_length=50)
    coach = models.ForeignKey(Coach, on_delete=models.PROTECT)
    ramp = models.CharField(max_length=10, choices=RAMPS)
    source = models.CharField(max_length=10, choices=SOURCES)
    pay_state = models.CharField(max_length=10, choices=PAY_STATES, default="trial")
    consistency = StockField(default="new", facets=["coach__name", "ramp", "source", "pay_state"])

    class Meta:
        ordering = ["pk"]
        permissions = [("call_profile", "Can call somebody who is coached")]

    def __str__(self) -> str:
        return self.name

    @transition(
        consistency, source=["new", "steady", "slipping", "lapsed", "called"], target="steady"
    )
    def log_in(self) -> None:
        """They were here; the clock of what follows begins anew."""

    @transition(consistency, source=["new", "steady"], target="slipping", after=timedelta(days=7))
    def slip(self) -> None:
        """A week without a login."""

    @transition(
        consistency, source=["slipping", "called"], target="lapsed", after=timedelta(days=21)
    )
    def lapse(self) -> None:
        """Three weeks more."""

    @transition(
        consistency,
        source=["slipping", "lapsed"],
        target="called",
        permission="coaching.call_profile",
        custom={"label": "Call"},
    )
    def call(self) -> None:
        """Their coach called."""

    @transition(consistency, source="lapsed", target="gone", permission="coaching.call_profile")
    def let_go(self) -> None:
        """Their coach gave up."""


class Login(StockflowModel):
    """One login. It comes from outside and stays: a flow, whose stock nobody looks at."""

    profile = models.ForeignKey(Profile, on_delete=models.CASCADE)
    state = StockField(default="made", facets=["profile__coach__name"])

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Login {self.pk}"

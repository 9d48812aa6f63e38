"""Models of the tests: one for each way in which a model may use stockflow."""

import uuid
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import django_fsm
from dateutil.relativedelta import relativedelta
from django.contrib.auth.models import User
from django.db import connection, models
from django.db.models.functions import Upper
from django_fsm import GET_STATE, RETURN_VALUE

from stockflow.models import AtEntry, StockField, StockflowManager, StockflowModel, transition
from stockflow.projections.flow_events import FlowEvent, SubjectKey
from stockflow.projections.models import ReadModel
from stockflow.tracker import Companion


class Rep(models.Model):
    """Who owns leads."""

    name = models.CharField(max_length=20)
    team = models.CharField(max_length=20)
    manager = models.ForeignKey("self", on_delete=models.PROTECT, null=True)


def is_paid(lead: "Lead") -> bool:
    """A condition."""
    return bool(lead.amount >= 0)


class Lead(StockflowModel):
    """The lead of the README: decays, facets, conditions and permissions."""

    channel = models.CharField(max_length=20, default="web")
    owner = models.ForeignKey(Rep, on_delete=models.PROTECT, null=True)
    amount = models.DecimalField(max_digits=9, decimal_places=2, default=0)
    note = models.CharField(max_length=50, default="")
    temperature = StockField(default="hot", facets=["channel", "owner__team"])

    @transition(temperature, source="hot", target="warm", after=timedelta(days=7))
    def cool(self) -> None: ...

    @transition(temperature, source="warm", target="cold", after=timedelta(days=30))
    def chill(self) -> None: ...

    @transition(temperature, source=["warm", "cold"], target="hot", flow="rekindling")
    def rekindle(self) -> None: ...

    @transition(
        temperature,
        source=["hot", "warm"],
        target="won",
        permission="crm.close_lead",
        conditions=[is_paid],
    )
    def win(self, amount: int) -> str:
        self.amount = amount
        return "won"

    @transition(temperature, source="*", target="lost")
    def lose(self, channel: str | None = None) -> None:
        self.channel = channel or self.channel

    @transition(temperature, source="hot")
    def ping(self) -> None: ...

    @transition(temperature, source="hot", target="hot")
    def touch(self) -> None: ...

    @transition(temperature, source="hot", target="won", on_error="broken")
    def break_down(self) -> None:
        raise ValueError("broken down")


class LeadEvent(FlowEvent):
    """The events of leads."""

    subject = SubjectKey(Lead)


class AnyEvent(FlowEvent):
    """The events of any object."""


class HotLead(Lead):
    """A proxy."""

    class Meta:
        proxy = True


class BigLead(Lead):
    """A child with a table and a stock field of its own."""

    budget = models.IntegerField(default=0)
    stage = StockField(default="draft", facets=["budget"])

    @transition(stage, source="draft", target="offered", after=timedelta(days=1))
    def offer(self) -> None: ...


class Ticket(StockflowModel):
    """Plain: no facet, no decay, native decorators, dynamic targets."""

    title = models.CharField(max_length=50, default="")
    state = StockField(
        default="new",
        choices=[("new", "New"), ("open", "Open"), ("closed", "Closed"), ("archived", "Archived")],
    )

    @django_fsm.transition(state, source="new", target="open")
    def open(self) -> None: ...

    @django_fsm.transition(state, source="open", target="new")
    def reopen(self) -> None: ...

    @django_fsm.transition(state, source="*", target=RETURN_VALUE("open", "closed"))
    def decide(self, close: bool) -> str:
        return "closed" if close else "open"

    @django_fsm.transition(
        state, source="*", target=GET_STATE(lambda ticket, to: to, states=["open", "closed"])
    )
    def put(self, to: str) -> None: ...

    @django_fsm.transition(state, source="+", target="closed")
    def close(self) -> None: ...


class RushedTicket(Ticket):
    """A proxy with a transition that calls and saves another one."""

    class Meta:
        proxy = True

    @django_fsm.transition("state", source="new", target="closed")
    def rush(self) -> None:
        self.open()
        self.save()

    @django_fsm.transition("state", source="*", target=RETURN_VALUE())
    def become(self, state: str) -> str:
        return state


class Order(StockflowModel):
    """Two fields, a UUID key, decays of every kind of delay."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    grace = models.DurationField(default=timedelta(days=2))
    deadline = models.DateTimeField(null=True)
    payment = StockField(default="due")
    delivery = StockField(default="waiting")

    def _grace(self) -> timedelta:
        return self.grace

    def _deadline(self) -> datetime | None:
        return self.deadline

    @transition(payment, source="due", target="overdue", after=_grace)
    def dun(self) -> None: ...

    @transition(payment, source="overdue", target="written_off", after=relativedelta(months=1))
    def write_off(self) -> None: ...

    @transition(payment, source=["due", "overdue"], target="paid")
    def pay(self) -> None: ...

    @transition(delivery, source="waiting", target="late", after=_deadline)
    def delay(self) -> None: ...

    @transition(delivery, source="waiting", target="waiting")
    def wait_again(self) -> None: ...

    @transition(delivery, source=["waiting", "late"], target="sent")
    def send(self) -> None: ...

    @transition(delivery, source="waiting", target="cancelled", after=timedelta(days=90))
    def cancel(self) -> None:
        self.payment_note = "cancelled"


class Phase(StockflowModel):
    """An abstract base: each child has the field, the methods and a log of its own."""

    phase = StockField(default="on", facets=["kind"])
    kind = models.CharField(max_length=10, default="a")

    class Meta:
        abstract = True

    @transition(phase, source="on", target="off", after=timedelta(hours=1))
    def switch_off(self) -> None: ...


class Lamp(Phase):
    """One child."""


class Radio(Phase):
    """A sibling, with a natural key."""

    code = models.CharField(max_length=10, primary_key=True)


def is_ready(chain: "Chain") -> bool:
    """A condition of a decay."""
    return chain.ready


class Chain(StockflowModel):
    """Decays that may be held back, or fail."""

    ready = models.BooleanField(default=True)
    is_broken = models.BooleanField(default=False)
    state = StockField(default="a")

    @transition(state, source="a", target="b", after=timedelta(days=1), conditions=[is_ready])
    def advance(self) -> None:
        if self.is_broken:
            raise ValueError("broken")

    @transition(state, source="*", target="stopped")
    def stop(self) -> None: ...

    @transition(state, source="*", target="a")
    def restart(self) -> None: ...


class Loop(StockflowModel):
    """Two decays without delay that lead to each other."""

    state = StockField(default="tick")

    @transition(state, source="tick", target="tock", after=timedelta(0))
    def tock(self) -> None: ...

    @transition(state, source="tock", target="tick", after=timedelta(0))
    def tick(self) -> None: ...

    @transition(state, source="*", target="stopped")
    def stop(self) -> None: ...


class Pulse(StockflowModel):
    """Two decays that lead to each other, an hour apart."""

    place = models.CharField(max_length=10, default="quay")
    state = StockField(default="ebb", facets=["place"])

    @transition(state, source="ebb", target="flow", after=timedelta(hours=1))
    def rise(self) -> None: ...

    @transition(state, source="flow", target="ebb", after=timedelta(hours=1))
    def fall(self) -> None: ...

    @transition(state, source="*", target="stopped")
    def stop(self) -> None: ...


class Parcel(StockflowModel):
    """Facets that are called as columns of answers are."""

    value = models.IntegerField(default=1)
    size = models.CharField(max_length=10, default="small")
    state = StockField(default="here", facets=["value", "size"])

    @transition(state, source="here", target="gone")
    def send(self) -> None: ...


class Fading(StockflowModel):
    """Three decays in a row, each the same to every object, and a user who may act in between."""

    kind = models.CharField(max_length=10, default="a")
    state = StockField(default="fresh", facets=["kind"])

    @transition(state, source="fresh", target="stale", after=timedelta(days=1))
    def age(self) -> None: ...

    @transition(state, source="stale", target="old", after=timedelta(days=2))
    def wither(self) -> None: ...

    @transition(state, source="old", target="gone", after=timedelta(days=4))
    def vanish(self) -> None: ...

    @transition(state, source="*", target="fresh")
    def renew(self) -> None: ...

    @transition(state, source="*", target="kept")
    def keep(self) -> None: ...


class Lease(StockflowModel):
    """Decays counted on Berlin's wall clocks: by the month, and by the day."""

    state = StockField(default="running")

    @transition(
        state,
        source="running",
        target="ended",
        after=relativedelta(months=1),
        tz=ZoneInfo("Europe/Berlin"),
    )
    def end(self) -> None: ...

    @transition(
        state,
        source="ended",
        target="cleared",
        after=relativedelta(days=1),
        tz=ZoneInfo("Europe/Berlin"),
    )
    def clear(self) -> None: ...


class Shade(models.TextChoices):
    """States and facet values as an enumeration."""

    LIGHT = "light"
    DARK = "dark"


class Paint(StockflowModel):
    """States of an enumeration; facets of every kind of column."""

    tone = models.CharField(max_length=10, choices=Shade, default=Shade.LIGHT)
    batch = models.UUIDField(null=True)
    mixed_on = models.DateField(null=True)
    glossy = models.BooleanField(default=False)
    number = models.SmallIntegerField(null=True)
    rep = models.ForeignKey(Rep, on_delete=models.PROTECT, null=True)
    label = models.CharField(max_length=10, unique=True, null=True)
    shade = StockField(
        default=Shade.LIGHT,
        choices=Shade.choices,
        facets=["tone", "batch", "mixed_on", "glossy", "number", "rep", "rep__manager__team"],
    )

    @transition(shade, source=Shade.LIGHT, target=Shade.DARK)
    def darken(self) -> None: ...

    @transition(shade, source=Shade.DARK, target=Shade.LIGHT)
    def lighten(self) -> None: ...


class Badge(StockflowModel):
    """Unique among some rows only, and by what is made of its columns."""

    code = models.CharField(max_length=10)
    is_worn = models.BooleanField(default=True, db_column="worn")
    holder = models.CharField(max_length=10, null=True)
    state = StockField(default="on")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["code"],
                condition=models.Q(is_worn=True) & ~models.Q(code__in=["", "100%"]),
                name="crm_badge_worn",
            ),
            models.UniqueConstraint(Upper("holder").desc(), "is_worn", name="crm_badge_holder"),
        ]

    @transition(state, source="on", target="off")
    def off(self) -> None: ...


BLIND = {"sqlite": "NOCASE", "postgresql": "und-x-icu"}[connection.vendor]
"""A collation: on SQLite one for which capitals are no matter, on PostgreSQL one of many."""


class Folder(StockflowModel):
    """Collations of its own, in the state too."""

    shelf = models.CharField(max_length=10, default="a", db_collation=BLIND)
    state = StockField(default="on", facets=["shelf"], db_collation=BLIND)

    @transition(state, source="on", target="off")
    def off(self) -> None: ...

    @transition(state, source="off", target="ON")
    def shout(self, shelf: str = "A") -> None:
        self.shelf = shelf


class Visible(StockflowManager):
    """A base manager that hides rows, as soft deletion does."""

    def get_queryset(self) -> "models.QuerySet[Veiled]":
        rows: models.QuerySet[Veiled] = super().get_queryset()
        return rows.filter(hidden=False)


class Veiled(StockflowModel):
    """Saved through a base manager that may not see it."""

    hidden = models.BooleanField(default=False)
    state = StockField(default="on")
    visible = Visible()

    class Meta:
        base_manager_name = "visible"

    @transition(state, source="on", target="off", after=timedelta(days=1))
    def off(self) -> None: ...


class Tag(models.Model):
    """Deleting it deletes its labelled tickets."""

    name = models.CharField(max_length=10)


class Labelled(StockflowModel):
    """Deleted by a cascade."""

    tag = models.ForeignKey(Tag, on_delete=models.CASCADE)
    state = StockField(default="on")

    @transition(state, source="on", target="off")
    def off(self) -> None: ...


class Stamped(StockflowModel):
    """Says when it was saved last."""

    updated_at = models.DateTimeField(auto_now=True)
    state = StockField(default="on")

    @transition(state, source="on", target="off")
    def off(self) -> None: ...

    @transition(state, source="on", target="dim")
    def dim(self) -> str:
        return "dim"

    @transition(state, source="on", target="sealed", permission=lambda stamped, user: False)
    def seal(self) -> None: ...


class Notice(StockflowModel):
    """Fades by itself, without a word."""

    lifecycle = models.CharField(max_length=10, default="", help_text="A timer has such a column.")
    state = StockField(default="new")

    @transition(state, source="new", target="old", after=timedelta(days=1))
    def age(self) -> None: ...

    @transition(state, source="old", target="gone", after=timedelta(days=30))
    def vanish(self) -> None: ...

    @transition(state, source="*", target="gone")
    def withdraw(self) -> None: ...


class DatedNotice(Notice):
    """Says in a table of its own when it was saved last."""

    updated_at = models.DateTimeField(auto_now=True)


class Careful(StockflowModel):
    """Has a save() of its own."""

    saves = models.IntegerField(default=0)
    state = StockField(default="on")

    @transition(state, source="on", target="off")
    def off(self) -> None: ...

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.saves += 1
        super().save(*args, **kwargs)


class Sale(StockflowModel):
    """Counts for the team that its seller was in when the state was entered."""

    seller = models.ForeignKey(Rep, on_delete=models.PROTECT, null=True)
    channel = models.CharField(max_length=20, default="web")
    state = StockField(
        default="offered", facets=["channel", AtEntry("seller__team"), "seller__name"]
    )

    @transition(state, source="offered", target="sold")
    def sell(self) -> None: ...

    @transition(state, source="*")
    def remind(self) -> None: ...


def is_due(trial: "Trial") -> bool:
    """A condition of decays."""
    return trial.ready


class WorkingDays:
    """A calendar of one's own: so many days, Saturdays and Sundays not counted."""

    def __init__(self, days: int) -> None:
        self.days = days

    def due_at(self, since: datetime, trial: "Trial") -> datetime | None:
        """Return the same time of day so many working days later."""
        days, at = self.days, since
        while days:
            at += timedelta(days=1)
            days -= at.weekday() < 5
        return at


class Trial(StockflowModel):
    """Decays of every further kind: by fields, by a calendar, in a zone, with policies."""

    trial_days = models.IntegerField(default=14, null=True)
    pause = models.DurationField(null=True)
    ends_at = models.DateTimeField(null=True)
    ready = models.BooleanField(default=True)
    state = StockField(default="trying")

    @transition(state, source="trying", target="over", after=models.F("trial_days"))
    def end(self) -> None: ...

    @transition(state, source="trying", target="nudged", after=models.F("pause"))
    def nudge(self) -> None: ...

    @transition(state, source="trying", target="trying", restarts_clock=False)
    def look(self) -> None: ...

    @transition(state, source="trying", target="trying")
    def extend(self) -> None: ...

    @transition(state, source="*", target="paid")
    def pay(self) -> None: ...

    @transition(state, source="paid", target="expired", after=models.F("ends_at"))
    def expire(self) -> None: ...

    @transition(
        state,
        source="over",
        target="dropped",
        after=timedelta(days=1),
        conditions=[is_due],
        on_false="skip",
    )
    def drop(self) -> None: ...

    @transition(state, source="over", target="archived", after=WorkingDays(5))
    def archive(self) -> None: ...

    @transition(
        state,
        source="nudged",
        target="called",
        after=timedelta(days=1),
        conditions=[is_due],
        on_false="park",
        max_lateness=timedelta(days=2),
    )
    def call(self) -> None: ...

    @transition(state, source="dropped", target="dropped", restarts_clock=False)
    def remember(self) -> None: ...

    @transition(
        state,
        source="dropped",
        target="forgotten",
        after=relativedelta(months=1),
        tz=ZoneInfo("Europe/Berlin"),
    )
    def forget(self) -> None: ...

    @transition(state, source="*", target=RETURN_VALUE())
    def put(self, to: str) -> str:
        return to


class Source(models.Model):
    """Where visits come from; it may go."""

    name = models.CharField(max_length=10, default="")
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, null=True)


class Mirror(Source):
    """A proxy of it."""

    class Meta:
        proxy = True


def no_source() -> Source:
    """Return what stands for a source that is gone."""
    return Source._default_manager.get_or_create(name="none")[0]


class Visit(StockflowModel):
    """Lets go of what it is split by: by nothing, by a default, by what is computed, or goes too."""

    source = models.ForeignKey(Source, models.SET_NULL, null=True, related_name="+")
    other = models.ForeignKey(Source, models.SET_DEFAULT, null=True, default=None, related_name="+")
    third = models.ForeignKey(Source, models.SET(no_source), null=True, related_name="+")
    fourth = models.ForeignKey(Source, models.DO_NOTHING, null=True, related_name="+")
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, null=True)
    state = StockField(
        default="open", facets=["source__name", "other", "third__name", "fourth__name"]
    )

    @transition(state, source="open", target="closed", after=timedelta(days=1))
    def close(self) -> None: ...


class LongVisit(Visit):
    """A child with a field that its parent's relations split: by what is behind, and by the key."""

    pages = StockField(default="few", facets=["source__name", "other"])

    @transition(pages, source="few", target="many")
    def read(self) -> None: ...


class Call(StockflowModel):
    """Lets go of what it is split by, with one field in all."""

    source = models.ForeignKey(Source, models.SET_NULL, null=True, related_name="+")
    state = StockField(default="open", facets=["source__name"])


class Mail(StockflowModel):
    """Lets go of what it is split by, through a base manager that refuses updates."""

    source = models.ForeignKey(Source, models.SET_NULL, null=True, related_name="+")
    state = StockField(default="open", facets=["source__name"])

    class Meta:
        base_manager_name = "objects"

    @transition(state, source="open", target="read")
    def read(self) -> None: ...


class Shelf(models.Model):
    """Deleting it lets the database delete what stands on it, where Django knows how to say so."""


class Book(StockflowModel):
    """Deleted by the database itself, from Django 6.1 on."""

    shelf = models.ForeignKey(Shelf, on_delete=getattr(models, "DB_CASCADE", models.CASCADE))
    state = StockField(default="on")


class Membership(Companion):
    """What users are, while a test tracks them: a decay, and a target that is computed."""

    subject = models.OneToOneField("auth.User", on_delete=models.CASCADE)
    standing = StockField(default="waiting", facets=["subject__is_staff"])
    access = StockField(default="plain")

    @transition(standing, source=["waiting", "barred", "dormant"], target="active")
    def admit(self) -> None: ...

    @transition(standing, source="active", target="active")
    def greet(self) -> None: ...

    @transition(standing, source="active", target="dormant", after=timedelta(days=30))
    def doze(self) -> None: ...

    @transition(standing, source=["active", "dormant"], target="barred")
    def bar(self) -> None: ...

    @transition(access, source="*", target=RETURN_VALUE("plain", "staff"))
    def grant(self, to: str) -> str:
        return to

    @transition(access, source="*", target=RETURN_VALUE("plain", "staff"))
    def keep(self, to: str) -> str:
        return str(self.access)


class Loner(Companion):
    """Names no subject."""

    state = StockField(default="on")


class Doubtful(Companion):
    """May have no subject."""

    subject = models.OneToOneField("auth.User", on_delete=models.CASCADE, null=True)
    state = StockField(default="on")


class Person(User):
    """A proxy of what is tracked."""

    class Meta:
        proxy = True


class ChannelDay(ReadModel):
    """Rows of a declared projection: how many leads became hot on a day, and were no more."""

    day = models.DateField()
    channel = models.CharField(max_length=20)
    entries = models.BigIntegerField(default=0)
    exits = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["generation", "day", "channel"], name="channel_day")
        ]


class Journey(ReadModel):
    """Rows of a projection in Python: where a lead was, one state after the other."""

    lifecycle = models.CharField(max_length=36)
    states = models.TextField(default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["generation", "lifecycle"], name="journey_of_lead")
        ]


class Step(ReadModel):
    """Rows that refer to another read model's: each state that a lead came to."""

    journey = models.ForeignKey(Journey, on_delete=models.DO_NOTHING, related_name="+")
    state = models.CharField(max_length=20)

"""Projections of users' own, declared and in Python: whatever the way, they equal brute force."""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models, transaction
from django.db.models import Case, Q, Value, When
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.cells import encode_facets
from stockflow.domain.events import StockEvent
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import (
    AdditiveProjection,
    Adds,
    Batch,
    EventProjection,
    LocalDay,
    Reads,
    TargetFacet,
    base,
    checkpoints,
    runner,
)
from stockflow.projections.models import Generation
from stockflow.projections.reading import between, compiled
from stockflow.projections.replay import Comparison
from stockflow.testing import sequence
from tests.crm.models import ChannelDay, Journey, Lead
from tests.projections import histories, own
from tests.projections.histories import START, event, quick

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", dict(base.installed))
    own.register()


def differences() -> list[str]:
    """Return what each projection has that a rebuild has not, and the other way round."""
    found: list[str] = []
    for projection in base.named(using="default"):
        serving = checkpoints.serving(projection.name, using="default")
        assert serving is not None
        comparison = Comparison(projection, serving, using="default")
        list(comparison.run(batch_size=1000))
        found += comparison.differences
    return found


deeds = st.lists(
    st.tuples(st.sampled_from(["log", "project", "replay"]), st.integers(1, 9)), max_size=9
)


@pytest.mark.long
@quick
@given(events=histories.histories, deeds=deeds)
def test_incremental_equals_rebuilt_equals_brute_force(
    settings: Any, events: list[Event], deeds: list[tuple[str, int]]
) -> None:
    """Of every kind, folded in any batches, with replays in between."""
    settings.STOCKFLOW_TIME_ZONE = zone = "America/Santiago"
    rest = list(events)
    with transaction.atomic():
        for deed, number in [*deeds, ("log", len(events)), ("project", 3)]:
            if deed == "log":
                Event._default_manager.bulk_create(rest[:number])
                rest = rest[number:]
                sequence()
            else:
                run = runner.project if deed == "project" else runner.rebuild
                list(run(batch_size=number))
        found = own.journeys_served(), own.channel_days_served()
        differing = differences()
        transaction.set_rollback(True)

    assert found == (own.journeys(events), own.channel_days(events, zone))
    assert differing == []


WEB = encode_facets({"channel": "web"}), encode_facets({"channel": "web"})


def log(*events: Event) -> None:
    """Write *events* and give them positions."""
    Event._default_manager.bulk_create(events)
    sequence()


def entered(number: int, facets: dict[str, Any], **words: Any) -> Event:
    """Return the event of a new hot lead."""
    cell = encode_facets(facets)
    return event(
        UUID(int=number),
        1,
        START,
        kind="entered",
        source=None,
        target="hot",
        facets=(None, cell),
        **words,
    )


@pytest.mark.parametrize(
    ("value", "text"), [("web", "web"), (3, "3"), (True, "true"), (False, "false"), (None, "")]
)
def test_facets_are_text(value: Any, text: str) -> None:
    """Each value that a facet may have is told apart from one that was not recorded."""
    log(entered(1, {"channel": value}), entered(2, {}), entered(3, {"other": 1}))
    list(runner.project())

    assert own.channel_days_served() == Counter(
        {(START.date(), text, "entries"): 1, (START.date(), "not recorded", "entries"): 2}
    )


def test_null_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the batches are cut: a sum of nothing else is NULL, and of nothing is 0."""
    adds = Adds(
        {"entries": Case(When(kind="moved", then=Value(5))), "exits": 1},
        to={"day": LocalDay(), "channel": TargetFacet("channel")},
    )
    monkeypatch.setattr(own.ChannelDays, "adds", [adds])
    log(
        entered(1, {"channel": "web"}),
        event(UUID(int=1), 2, START, kind="moved", source="hot", target="won", facets=WEB),
    )
    list(runner.project(names=[own.ChannelDays.name], batch_size=1))
    rows = ChannelDay.objects.serving().values_list("entries", "exits")

    assert list(rows) == [(5, 2)]
    list(runner.rebuild(names=[own.ChannelDays.name]))
    assert list(rows.all()) == [(5, 2)]


@pytest.mark.parametrize(
    ("reads", "number"),
    [
        (Reads(), 4),
        (Reads(models=[Lead]), 3),
        (Reads(models=(model for model in [Lead])), 3),
        (Reads(models=["crm.lead"], kinds=["moved"]), 1),
        (Reads(models=["gone.model"]), 1),
        (Reads(fields=["stage"]), 0),
        (Reads(topics=["stockflow:entered"]), 3),
    ],
)
def test_what_is_read(monkeypatch: pytest.MonkeyPatch, reads: Reads, number: int) -> None:
    """Models with their children, kinds, fields and topics; no event that is not of a stock."""
    seen: list[StockEvent] = []

    class Seen(EventProjection):
        name = "tests.seen"
        read_models = [Journey]

        def handle(self, batch: Batch) -> None:
            seen.extend(batch.events)

    monkeypatch.setattr(Seen, "reads", reads)
    base.register_projection(Seen)
    Event._default_manager.create(originator="x", version=1, topic="other")
    log(
        entered(1, {}),
        event(UUID(int=1), 2, START, kind="moved", source="hot", target="won"),
        entered(2, {}, model="crm.biglead"),
        entered(3, {}, model="gone.model"),
    )
    list(runner.project(names=["tests.seen"], batch_size=2))
    serving = checkpoints.serving("tests.seen", using="default")

    assert len(seen) == number
    assert serving is not None
    assert serving.position == 5  # it passes what it does not read


def test_positions_and_rows_of_a_batch() -> None:
    """A handler sees events in order with their positions, and the rows of its own generation."""
    seen: list[Any] = []

    class Batches(EventProjection):
        name = "tests.batches"
        read_models = [Journey]
        batch_size = 2

        def handle(self, batch: Batch) -> None:
            seen.append((batch.positions, batch.rows(Journey).count(), batch.using))
            Journey.objects.create(generation=batch.generation, lifecycle=str(batch.positions))

    base.register_projection(Batches)
    log(*(entered(number, {}) for number in range(3)))
    for run in (runner.project, runner.rebuild):
        list(run(names=["tests.batches"]))

    assert seen == [((1, 2), 0, "default"), ((3,), 1, "default")] * 2
    assert Journey.objects.count() == 2


def test_a_replay_drops_the_old_generation() -> None:
    """Rows of the generation that served go, and those that serve are the new one's."""
    log(entered(1, {}))
    list(runner.project())
    before = set(ChannelDay.objects.values_list("generation", flat=True))
    list(runner.rebuild())
    after = set(ChannelDay.objects.values_list("generation", flat=True))

    assert len(before) == len(after) == 1
    assert before != after
    assert Generation.objects.count() == len(base.installed)


@pytest.mark.parametrize("model", [ChannelDay, Journey])
def test_a_check_finds_what_was_altered(model: Any) -> None:
    """A row that is gone, one too many and a changed one differ, whatever the kind."""
    log(entered(1, {}), entered(2, {"channel": "web"}))
    list(runner.project())
    name = {ChannelDay: "channel", Journey: "states"}[model]
    model.objects.filter(pk=model.objects.first().pk).update(**{name: "altered"})

    assert [line.rpartition(": ")[2] for line in differences()] == [
        "serves, and the log does not say so",
        "is missing from what serves",
    ]


def test_two_of_a_row_differ_from_one() -> None:
    """Rows are compared with how many are like them."""
    log(entered(1, {}), entered(2, {}))
    list(runner.project())
    Journey.objects.create(generation=-1, lifecycle="another", states="hot>")
    serving = checkpoints.serving(own.Journeys.name, using="default")
    assert serving is not None
    comparison = Comparison(own.Journeys(), serving, using="default")
    two, one = (comparison._rows(Journey, number, ["states"]) for number in (serving.pk, -1))

    assert list(two.difference(one)) == [("hot>", 2)]


class Other(models.Model):
    """A read model that fits no declaration."""

    generation = models.BigIntegerField()
    day = models.DateField(null=True)
    amount = models.FloatField()

    class Meta:
        app_label = "crm"
        managed = False


class Plain(models.Model):
    """A read model without its unique constraint."""

    generation = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    number = models.BigIntegerField()

    class Meta:
        app_label = "crm"
        managed = False


class Unsure(models.Model):
    """A read model whose number may be NULL."""

    generation = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    number = models.BigIntegerField(null=True)

    class Meta:
        app_label = "crm"
        managed = False
        unique_together = (("generation", "channel"),)


ADDS = [Adds({"entries": 1}, to={"day": LocalDay(), "channel": TargetFacet("channel")})]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"adds": []}, "needs adds: what each event adds to which row"),
        ({"read_models": [ChannelDay, Journey]}, "needs one read model, not 2"),
        (
            {"adds": [*ADDS, Adds({"exits": 1}, to={"day": LocalDay()})]},
            "identifies rows by different columns",
        ),
        ({"adds": ADDS}, "its read model crm.ChannelDay differ in their columns: exits"),
        (
            {"read_models": [Other], "adds": [Adds({"amount": 1}, to={"day": LocalDay()})]},
            "adds to crm.Other.amount, which is no integer field",
        ),
        (
            {"read_models": [Unsure], "adds": [Adds({"number": 1}, to={"channel": Q()})]},
            "adds to crm.Unsure.number, which may be NULL",
        ),
        (
            {"read_models": [Plain], "adds": [Adds({"number": 1}, to={"channel": Q()})]},
            r"needs a UniqueConstraint over \(generation, channel\) of crm.Plain",
        ),
    ],
)
def test_declarations_that_do_not_fit(words: dict[str, Any], text: str) -> None:
    """What could not be added to is refused when it is registered."""
    declared = type("Declared", (own.ChannelDays,), {"name": "tests.declared", **words})

    with pytest.raises(InvalidDeclaration, match=text):
        base.register_projection(declared)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"kinds": "entered"}, r"a list of kinds, such as kinds=\['entered'\], not 'entered'"),
        ({"models": "crm.Lead"}, "a list of models"),
        ({"models": Lead}, r"such as models=\[Lead\], not Lead"),
    ],
)
def test_reads_takes_lists(words: Any, text: str) -> None:
    """A name would be taken letter by letter."""
    with pytest.raises(InvalidDeclaration, match=text):
        Reads(**words)


def test_handlers_are_needed() -> None:
    """A projection in Python that handles nothing is a mistake."""
    idle = type("Idle", (EventProjection,), {"name": "tests.idle", "read_models": [Journey]})

    with pytest.raises(InvalidDeclaration, match=r"'tests.idle' has no handler: override process_"):
        base.register_projection(idle)


def test_a_read_model_without_a_projection() -> None:
    """Nobody can say which of its rows serve."""
    base.installed.pop(own.Journeys.name)

    with pytest.raises(base.UnknownProjection, match="Journey is the read model of no projection"):
        Journey.objects.serving()


def test_days_are_of_when_events_occurred() -> None:
    """Those of another column would be cut by days that were looked up for this one."""
    wrong: Any = LocalDay

    with pytest.raises(TypeError, match="positional argument"):
        wrong("recorded_at")
    with pytest.raises(TypeError, match="keyword argument"):
        wrong(at="recorded_at")


def test_without_days_the_zone_is_nothing(settings: Any) -> None:
    """Only a projection that counts by days is rebuilt for another zone."""
    settings.STOCKFLOW_TIME_ZONE = "Asia/Kathmandu"

    class ByKind(AdditiveProjection):
        adds = [Adds({"number": 1}, to={"kind": "kind"})]

    assert ByKind().zone() == ""
    assert own.ChannelDays().zone().startswith("Asia/Kathmandu ")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a plan of SQLite")
def test_a_batch_is_found_by_key() -> None:
    """However long the log is: not by reading all events of the model for each batch."""
    reads = Reads(models=[Lead], kinds=["moved"])
    sql, values = compiled(between(reads, 5, 9, using="default").filter(field="temperature"))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        plan = [row[3] for row in cursor.fetchall()]

    assert "SEARCH stockflow_event USING INTEGER PRIMARY KEY (rowid=?)" in plan

"""What changed behind a relation: ``verify`` says so, nobody else stumbles over it."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from stockflow.fence import comparing, reconciling, relations
from stockflow.fence.relations import Drift
from stockflow.fence.subjects import fenced_tables
from stockflow.testing import sequence
from stockflow.verification import verify
from tests.bulk.test_sameness import forget
from tests.crm.models import Lead, LongVisit, Rep, Sale, Source, Visit
from tests.eventstore.tampering import tampering, unguarded
from tests.fence.down import fence_down

pytestmark = pytest.mark.django_db


def drifts(number: int = 10) -> list[Drift]:
    """Return the first ones, after a look at what else would take them for its business."""
    assert comparing.first("default", 1) == []
    return relations.first("default", number)


def verified(verbosity: int = 1) -> str:
    """Run the command and return what it says."""
    out = io.StringIO()
    call_command("stockflow", "verify", stdout=out, no_color=True, verbosity=verbosity)
    return out.getvalue()


def move_to_the_south() -> None:
    """Change every rep's team where no lead sees it."""
    Rep.objects.update(team="south")


def test_the_command_names_it_and_succeeds(rep: Rep) -> None:
    """Object, field, facet, what the relation and the log say, and what records it."""
    lead, _ = Lead.objects.create(owner=rep), Lead.objects.create()
    sequence()
    move_to_the_south()
    said = verified()

    assert said == (
        "Not recorded yet, behind relations:\n"
        f"crm.Lead {lead.pk}, temperature: owner__team is 'south' by the row's relation, 'north' by "
        "the log; Lead.objects.reclassify() records it\n"
        "Verified 2 positions: all is as it was recorded.\n"
    )
    assert verified(verbosity=0) == ""


def test_what_was_reclassified_is_recorded(rep: Rep) -> None:
    """It drifts no more; what differs in nothing never did."""
    Lead.objects.create(owner=rep)
    assert drifts() == []
    move_to_the_south()
    assert len(drifts()) == 1
    Lead.objects.reclassify()

    assert drifts() == []
    assert "behind relations" not in verified()


def test_nobody_else_mends_it(rep: Rep) -> None:
    """It is neither drift for ``migrate`` nor for ``reconcile``."""
    Lead.objects.create(owner=rep)
    move_to_the_south()

    assert list(reconciling.reconcile("default", fenced_tables("default"))) == []
    assert len(drifts()) == 1


def test_what_is_fixed_at_entry_does_not_drift(rep: Rep) -> None:
    """The facet beside it does."""
    sale = Sale.objects.create(seller=rep)
    Rep.objects.update(team="south", name="Eve")

    assert drifts() == [Drift("crm.Sale", str(sale.pk), "state", "seller__name", "Eve", "Ada")]


def test_a_value_that_a_text_may_spell_in_two_ways() -> None:
    """What reads the same is the same, however Python or the database wrote it."""
    names = ["ä\"\\/\u007f\t\u2028'", "😀", ""]
    for name in names:
        Lead.objects.create(owner=Rep.objects.create(name="Ada", team=name))
        Lead.objects.bulk_create([Lead(owner=Rep.objects.latest("pk"))])

    assert drifts() == []


def test_a_facet_that_the_log_does_not_have(rep: Rep) -> None:
    """It was declared later, and is no drift."""
    Lead.objects.create(owner=rep)
    with unguarded() as cursor:
        cursor.execute("""UPDATE stockflow_event SET target_facets = '{"channel":"web"}'""")

    assert drifts() == []


@pytest.mark.parametrize("go", [Lead.delete, forget])
def test_an_object_without_a_history_that_goes_on(go: Callable[[Lead], Any], rep: Rep) -> None:
    """What is closed, or not adopted yet, has nothing to be recorded."""
    lead = Lead.objects.create(owner=rep)
    with fence_down(operations=["update"]):
        go(lead)
    move_to_the_south()

    assert relations.first("default", 1) == []


def test_a_relation_that_was_changed_past_the_fence(rep: Rep) -> None:
    """The foreign key itself, which is no facet: the row says nothing now."""
    lead = Lead.objects.create(owner=rep)
    with fence_down():
        models.QuerySet(Lead).update(owner=None)

    assert drifts() == [
        Drift("crm.Lead", str(lead.pk), "temperature", "owner__team", None, "north")
    ]


def test_a_child_is_named_once_for_each_field() -> None:
    """As the class that it is, and one ``reclassify()`` of its parent records all."""
    source = Source.objects.create(name="ad")
    child, parent = (str(m.objects.create(source=source).pk) for m in (LongVisit, Visit))
    Source.objects.update(name="fair")

    assert sorted((one.model, one.key, one.field) for one in drifts()) == [
        ("crm.LongVisit", child, "pages"),
        ("crm.LongVisit", child, "state"),
        ("crm.Visit", parent, "state"),
    ]
    assert Visit.objects.reclassify() == 2
    assert drifts() == []


def test_as_many_as_are_asked_for(rep: Rep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, in the order of their keys, however many one statement finds."""
    keys = [str(Lead.objects.create(owner=rep).pk) for _ in range(5)]
    move_to_the_south()
    monkeypatch.setattr(relations, "CHUNK", 2)

    assert [one.key for one in drifts()] == keys
    assert [one.key for one in drifts(3)] == keys[:3]


def test_few_statements_for_all(rep: Rep) -> None:
    """Twenty leads cost no more statements than two."""
    counts = []
    for size in (2, 18):
        for _ in range(size):
            Lead.objects.create(owner=rep)
        with CaptureQueriesContext(connection) as queries:
            relations.first("default", 10)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_beside_a_row_that_went_its_own_way(rep: Rep) -> None:
    """Both are told, and that one fails."""
    Lead.objects.create(owner=rep)
    move_to_the_south()
    out = io.StringIO()
    with fence_down():
        models.QuerySet(Lead).update(temperature="won")
    with pytest.raises(CommandError, match="temperature is not that of its last event"):
        call_command("stockflow", "verify", stdout=out)

    assert "owner__team is 'south' by the row's relation" in out.getvalue()


def test_a_log_that_was_altered_is_not_compared_with(rep: Rep) -> None:
    """What it says of facets is worth nothing."""
    Lead.objects.create(owner=rep)
    sequence()
    move_to_the_south()
    with tampering() as cursor:
        cursor.execute("UPDATE stockflow_event SET target_facets = 'x'")
        steps = list(verify())

    assert any(step.wrong for step in steps)
    assert not any(step.drifted for step in steps)

"""What keeps bulk operations right beside other writers, each guard also without itself."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from stockflow.bulk import chunks, closing, methods, writing
from stockflow.bulk.statements import Statements
from stockflow.errors import ConcurrentTransition
from stockflow.models import Event, Outcome
from stockflow.saving.work import Work
from stockflow.subjects import subject_of
from tests.crm.models import Lead, Rep, Source, Veiled, Visit
from tests.stockflow.reading import assert_whole, trail

pytestmark = pytest.mark.django_db

ROW_LOCKS = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the database")
NAMES = pytest.mark.parametrize(
    ("name", "arguments"),
    [pytest.param("cool", {}, id="by SQL"), pytest.param("win", {"amount": 1}, id="by method")],
)
Rewrite = Callable[[str], str]


def unchanged(sql: str) -> str:
    """Leave every guard where it is."""
    return sql


def without_lock(sql: str) -> str:
    """Take the row locks out of a statement."""
    return sql.split(" FOR NO KEY UPDATE", maxsplit=1)[0]


def backwards(sql: str) -> str:
    """Lock the rows in another order."""
    if " FOR NO KEY UPDATE" not in sql:
        return sql
    return sql.replace(" ASC FOR", " DESC FOR").replace('r."id" FOR', 'r."id" DESC FOR')


def in_the_background(
    rewrite: Rewrite, does: Callable[[], Any]
) -> tuple[threading.Thread, list[Any]]:
    """Run *does* in a thread, its statements rewritten; return that, and where its result comes."""
    found: list[Any] = []

    def wrapper(execute: Any, sql: Any, *rest: Any) -> Any:
        return execute(rewrite(str(sql)), *rest)

    def run() -> None:
        try:
            with connection.execute_wrapper(wrapper):
                found.append(does())
        except (DatabaseError, ConcurrentTransition) as error:
            found.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive() and not somebody_waits():
        thread.join(0.01)
    return thread, found


def somebody_waits() -> bool:
    """Return whether a transaction of this database waits for a row that another one has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event IN ('transactionid', 'tuple')"
        )
        return bool(cursor.fetchone()[0])


def done_past(rewrite: Rewrite, lead: Lead, does: Callable[[Any], Any]) -> Any:
    """Change *lead* while it is asked for by what it was; return what became of that."""
    with transaction.atomic():
        Lead.objects.filter(pk=lead.pk).update(note="yours")
        mine = Lead.objects.filter(note="mine")
        thread, found = in_the_background(rewrite, lambda: does(mine))
    thread.join()
    return found[0]


def moved_past(rewrite: Rewrite, name: str, arguments: dict[str, Any]) -> Any:
    """Change a lead while a bulk transition asks for it; return what became of that."""
    lead = Lead.objects.create(note="mine")
    return done_past(rewrite, lead, lambda mine: mine.transition(name, **arguments))


@ROW_LOCKS
@pytest.mark.django_db(transaction=True)
@NAMES
def test_the_lock_is_needed(name: str, arguments: dict[str, Any]) -> None:
    """With it, what another writer changed meanwhile is a conflict; without it, it is moved."""
    assert moved_past(unchanged, name, arguments) == Outcome(conflict=1)
    assert moved_past(without_lock, name, arguments) == Outcome(moved=1)


@ROW_LOCKS
@pytest.mark.django_db(transaction=True)
@NAMES
def test_asking_again_is_needed(
    name: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the queryset no longer finds under the lock is not moved."""
    monkeypatch.setattr(chunks, "matching", lambda queryset, keys: set(keys))

    assert moved_past(unchanged, name, arguments) == Outcome(moved=1)


def deleted(mine: Any) -> Any:
    """Delete leads; return what was deleted, or the kind of error."""
    try:
        return mine.delete()[0]
    except ConcurrentTransition as error:
        return type(error)


@ROW_LOCKS
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("does", "otherwise"),
    [
        pytest.param(deleted, ConcurrentTransition, id="closing"),
        pytest.param(lambda mine: mine.reclassify(), 1, id="facets"),
        pytest.param(lambda mine: mine.reclassify("temperature", {"hot": "won"}), 1, id="states"),
    ],
)
@pytest.mark.parametrize("is_asked", [True, False])
def test_asking_again_is_needed_by_what_makes_no_transition(
    does: Callable[[Any], Any],
    otherwise: Any,
    is_asked: bool,
    rep: Rep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the queryset no longer finds is neither closed nor reclassified."""
    lead = Lead.objects.create(note="mine", owner=rep)
    Rep.objects.update(team="south")
    if not is_asked:
        monkeypatch.setattr(chunks, "matching", lambda queryset, keys: set(keys))

    assert done_past(unchanged, lead, does) == (0 if is_asked else otherwise)
    assert (trail(lead) == ["entered >hot"]) == (is_asked or does is deleted)


@ROW_LOCKS
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_asked", [True, False])
def test_asking_again_is_needed_where_a_relation_is_let_go(
    is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has another one by then keeps that."""
    source, other = (Source.objects.create(name=name) for name in ("ad", "fair"))
    visit = Visit.objects.create(source=source)
    if not is_asked:
        monkeypatch.setattr(chunks, "matching", lambda queryset, keys: set(keys))
    with transaction.atomic():
        moved = Visit.objects.get()
        moved.source = other
        moved.save()
        thread, _ = in_the_background(unchanged, source.delete)
    thread.join()

    visit.refresh_from_db()
    assert visit.source == (other if is_asked else None)
    assert_whole(visit)


@ROW_LOCKS
@pytest.mark.django_db(transaction=True)
@NAMES
@pytest.mark.parametrize(("rewrite", "is_free"), [(unchanged, True), (backwards, False)])
def test_rows_are_locked_in_the_order_of_their_keys(
    name: str, arguments: dict[str, Any], rewrite: Rewrite, is_free: bool
) -> None:
    """Who waits for the first holds none of the others, so two never wait for each other."""
    first, last = Lead.objects.create(), Lead.objects.create()
    with transaction.atomic():
        Lead.objects.select_for_update().get(pk=first.pk)
        asked = Lead.objects.order_by("-pk")
        thread, found = in_the_background(rewrite, lambda: asked.transition(name, **arguments))
        try:
            with transaction.atomic():
                Lead.objects.select_for_update(nowait=True).get(pk=last.pk)
            was_free = True
        except DatabaseError:
            was_free = False
    thread.join()

    assert was_free == is_free
    assert (found == [Outcome(moved=2)]) or not is_free


def lose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each UPDATE of a bulk transition by SQL miss a row."""
    execute = Statements._execute

    def _execute(self: Statements, sql: str, values: Any, keys: Any) -> int:
        return execute(self, sql, values, keys[:-1] if sql.startswith("UPDATE") else keys)

    monkeypatch.setattr(Statements, "_execute", _execute)


def test_events_and_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is missed undoes its chunk, events and all, and the chunks before stay."""
    leads = [Lead.objects.create() for _ in range(4)]
    Lead.objects.filter(pk__in=[lead.pk for lead in leads[:2]]).transition("cool")
    lose_one(monkeypatch)
    with pytest.raises(
        ConcurrentTransition, match=r"1 of 2 rows of crm.Lead changed under the lock"
    ):
        Lead.objects.filter(temperature="hot").transition("cool")

    assert [len(trail(lead)) for lead in leads] == [2, 2, 1, 1]
    for lead in leads:
        lead.refresh_from_db()
        assert_whole(lead)


def test_without_the_count_an_event_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed."""
    leads = [Lead.objects.create() for _ in range(2)]
    lose_one(monkeypatch)
    monkeypatch.setattr(
        Statements,
        "_run",
        lambda self, statement, keys, expected: self._execute(*statement, keys),
    )
    Lead.objects.transition("cool")

    assert [len(trail(lead)) for lead in leads] == [2, 2]
    assert Lead.objects.filter(temperature="hot").count() == 1


def test_a_chunk_is_all_or_nothing() -> None:
    """Where its UPDATE fails, its events are gone."""
    lead = Lead.objects.create()

    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise DatabaseError("out of space")
        return execute(sql, *rest)

    for name, arguments in (("cool", {}), ("win", {"amount": 1})):
        with pytest.raises(DatabaseError, match="out of"), connection.execute_wrapper(fail):
            Lead.objects.transition(name, **arguments)

    assert trail(lead) == ["entered >hot"]
    assert Event.objects.count() == 1


def test_rows_are_written_at_their_version_only() -> None:
    """A row that has moved on is not overwritten, and what was to be written is undone."""
    lead = Lead.objects.create()
    note, subject = Lead._meta.get_field("note"), subject_of(Lead)
    lead.note = "x"

    assert writing.update_rows("default", subject, [note], [(lead.pk, 7, lead)]) == 0
    assert writing.update_rows("default", subject, [note], [(lead.pk, 1, lead)]) == 1
    work = Work("default")
    work.base = 7
    with pytest.raises(ConcurrentTransition, match=r"Rows of crm.Lead changed under the lock"):
        methods._update(Lead, [(lead.pk, work, lead)], {"note"}, "default")


def test_what_is_created_meanwhile_is_left_alone() -> None:
    """However fast others create, it comes to an end."""
    Lead.objects.bulk_create([Lead() for _ in range(3)])
    rest = iter(range(6))  # so that it ends even where it should not

    def create(count: int) -> None:
        if next(rest, None) is not None:
            Lead.objects.create()

    outcome = Lead.objects.transition("cool", chunk_size=1, progress=create)

    assert outcome == Outcome(moved=3)
    assert Lead.objects.filter(temperature="hot").count() == 3


def test_what_survives_a_deletion_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that the queryset no longer finds when it deletes keeps its row and its log."""
    lead = Lead.objects.create(note="mine")
    close = closing.close

    def close_slowly(queryset: Any) -> Any:
        closed = close(queryset)
        Lead.objects.update(note="yours")
        return closed

    monkeypatch.setattr(closing, "close", close_slowly)
    with pytest.raises(ConcurrentTransition, match="Another writer changed what this deletion"):
        Lead.objects.filter(note="mine").delete()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_what_is_hidden_instead_of_deleted_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base manager does not see it, and it is there."""
    veiled, close = Veiled.objects.create(), closing.close

    def close_slowly(queryset: Any) -> Any:
        closed = close(queryset)
        Veiled.objects.update(hidden=True)
        return closed

    monkeypatch.setattr(closing, "close", close_slowly)
    with pytest.raises(ConcurrentTransition, match="Another writer changed what this deletion"):
        Veiled.objects.filter(hidden=False).delete()

    assert trail(veiled) == ["entered >on"]


def test_nothing_to_do() -> None:
    """Of no object at all, each bulk operation makes nothing."""
    none = Lead.objects.filter(note="nobody's")

    assert none.transition("cool") == none.transition("win", amount=1) == Outcome()
    assert none.reclassify() == none.reclassify("temperature", {"hot": "warm"}) == 0
    assert none.delete()[0] == 0
    assert Lead.objects.bulk_create([]) == []

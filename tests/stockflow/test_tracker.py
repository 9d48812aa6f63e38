"""The tracker: no false and no lost event, by whatever way a user is saved or not."""

import copy
import io
import pickle
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.db.models import Q

import stockflow
from stockflow import companions
from stockflow.domain.errors import UnknownState
from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import Flow, Stock, registry
from stockflow.projections.runner import project
from stockflow.testing import Clock, run_due, sequence
from stockflow.tracker import ModelTracker
from tests.crm.models import Doubtful, Lead, Loner, Membership, Person
from tests.stockflow.reading import assert_whole, trail
from tests.stockflow.test_concurrency import at_once

pytestmark = pytest.mark.django_db

STANDING = {None: None, True: "active", False: "barred"}
ACCESS = {None: None, True: "staff", False: "plain"}


def sub_states(old: Any, new: Any) -> Any:
    """Whether one is active and whether one is staff; who logs in is active anew."""
    was = STANDING[old[0]] if old[2] == new[2] else None
    return (was, ACCESS[old[1]]), (STANDING[new[0]], ACCESS[new[1]])


@pytest.fixture(name="kept")
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away after the test what a tracker does to a class."""
    for name in ("__init__", "save_base", "refresh_from_db"):
        monkeypatch.setattr(User, name, getattr(User, name))
    monkeypatch.setattr(companions, "TRACKERS", [])


@pytest.fixture(name="tracker", autouse=True)
def _tracker(kept: None) -> Iterator[ModelTracker]:
    fields = ["is_active", "is_staff", "last_login"]
    yield ModelTracker(fields, sub_states, [Membership.standing, Membership.access])
    del User.stock_tracker_of_crm_membership  # type: ignore[attr-defined]


@pytest.fixture(name="user")
def _user(tracker: ModelTracker) -> User:
    return User.objects.create(username="ada")


def told(user: User) -> list[str]:
    """Return what happened to the user's membership after it was opened."""
    return trail(Membership.objects.get(subject=user))[2:]


def reconcile(*args: str) -> str:
    """Run the command and return what it says."""
    out = io.StringIO()
    call_command("stockflow", "reconcile", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_a_new_subject_opens_its_companion(user: User) -> None:
    """In the states to which its values lead."""
    row = Membership.objects.get(subject=user)

    assert trail(row) == ["entered >active", "entered >plain"]
    assert_whole(row)


def test_a_change_calls_the_declared_transition(user: User) -> None:
    """With its name and the circumstances, and once; the other sub-state stays."""
    user.is_active = False
    with stockflow.context(actor="root", reason="spam"):
        user.save()
    event = Event.objects.latest("id")

    assert told(user) == ["moved active>barred"]
    assert (event.transition, event.actor, event.reason) == ("bar", "root", "spam")


def test_a_computed_target_is_given_the_state(user: User) -> None:
    """One transition serves all pairs."""
    user.is_staff = True
    user.save()

    assert told(user) == ["moved plain>staff"]


def test_several_sub_states_at_once(user: User) -> None:
    """One save, one event for each."""
    user.is_staff, user.is_active = True, False
    user.save()

    assert told(user) == ["moved active>barred", "moved plain>staff"]


def test_a_second_save_of_the_instance(user: User) -> None:
    """The ancestor's fault: it must not repeat the event."""
    user.is_active = False
    user.save()
    user.save()
    user.save()

    assert told(user) == ["moved active>barred"]


def test_there_and_back(user: User) -> None:
    """Each change is an event, by one instance."""
    for is_active in (False, True, False):
        user.is_active = is_active
        user.save()

    assert told(user) == ["moved active>barred", "moved barred>active", "moved active>barred"]


def test_update_fields_without_the_changed_one(user: User) -> None:
    """What is not written has not happened; once it is written, it has."""
    user.is_active = False
    user.email = "ada@example.org"
    user.save(update_fields=["email"])

    assert told(user) == []
    user.is_staff = True
    user.save(update_fields=["is_staff"])

    assert told(user) == ["moved plain>staff"]
    user.save()

    assert told(user) == ["moved plain>staff", "moved active>barred"]


class Undone(Exception):
    """Rolls a block back."""


def save_in_vain(user: User) -> None:
    """Save in a block that is rolled back."""
    with suppress(Undone), transaction.atomic():
        user.save()
        raise Undone


def test_rollback_to_a_savepoint(user: User) -> None:
    """What was rolled back left no event, and the same instance saved again leaves one."""
    user.is_active = False
    with transaction.atomic():
        save_in_vain(user)
        assert told(user) == []
        user.save()

    assert told(user) == ["moved active>barred"]


@pytest.mark.django_db(transaction=True)
def test_rollback(user: User) -> None:
    """As above, of a whole transaction."""
    user.is_active = False
    save_in_vain(user)
    assert told(user) == []
    user.save()

    assert told(user) == ["moved active>barred"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_subject() -> None:
    """A creation that was rolled back is made again, with one opening."""
    user = User(username="eve")
    save_in_vain(user)
    assert not Membership.objects.exists()
    user.save()

    assert trail(Membership.objects.get()) == ["entered >active", "entered >plain"]


def test_a_refresh_after_a_rollback(user: User) -> None:
    """What was assigned in vain is gone with it."""
    user.is_active = False
    save_in_vain(user)
    user.refresh_from_db()
    user.save()

    assert told(user) == []


def test_another_field_after_a_rollback(user: User) -> None:
    """A value that waits is not taken for written, though it was once."""
    user.is_active = False
    save_in_vain(user)
    user.save(update_fields=["email"])

    assert told(user) == []
    user.save()
    assert told(user) == ["moved active>barred"]


def test_refresh_forgets(user: User) -> None:
    """A value read anew is no change, and one assigned after it is."""
    user.is_active = False
    user.refresh_from_db()
    user.save()

    assert told(user) == []
    user.is_active = False
    user.refresh_from_db(None, ["email"])  # by position, which model-utils takes for all fields
    user.save()

    assert told(user) == ["moved active>barred"]


def test_refresh_sees_another_writer(user: User) -> None:
    """What another instance wrote is recorded once, by that one."""
    other = User.objects.get()
    other.is_active = False
    other.save()
    user.refresh_from_db()
    user.save()

    assert told(user) == ["moved active>barred"]


def test_a_stale_instance_writes_back(user: User) -> None:
    """To whom nothing seems changed, but its save changes the row."""
    other = User.objects.get()
    other.is_active = False
    other.save()
    user.save()

    assert told(user) == ["moved active>barred", "moved barred>active"]


@pytest.mark.parametrize("load", ["defer", "only"])
def test_deferred_and_not_touched(user: User, load: str) -> None:
    """A deferred value is neither loaded nor taken for a change."""
    names = ["is_active", "is_staff"] if load == "defer" else ["email"]
    other = getattr(User.objects, load)(*names).get()
    other.email = "new@example.org"
    other.save()

    assert "is_active" in other.get_deferred_fields()
    assert told(user) == []


def test_deferred_and_assigned(user: User, django_assert_num_queries: Any) -> None:
    """It is a change against what the row held, though that was never loaded."""
    other = User.objects.only("email").get()
    with django_assert_num_queries(0):  # model-utils would load it
        other.is_active = False
    other.save()

    assert told(user) == ["moved active>barred"]


def test_deferred_and_assigned_what_it_was(user: User) -> None:
    """The same value is none."""
    other = User.objects.only("email").get()
    other.is_active = True
    other.save()

    assert told(user) == []


def test_deferred_is_not_loaded_by_a_refresh(user: User, django_assert_num_queries: Any) -> None:
    """Only what was loaded is loaded anew."""
    other = User.objects.only("email").get()
    with django_assert_num_queries(1):
        other.refresh_from_db()

    assert "is_active" in other.get_deferred_fields()


def test_deferred_and_loaded_later(user: User) -> None:
    """What is loaded by being read, or by name, is what changes are compared with."""
    read, refreshed = User.objects.only("email").get(), User.objects.only("email").get()
    assert read.is_active
    refreshed.refresh_from_db(fields=["is_active"])
    for other in read, refreshed:
        other.save()

    assert told(user) == []
    read.is_active = False
    read.save()
    refreshed.refresh_from_db(fields=["is_active"])
    refreshed.save()
    assert told(user) == ["moved active>barred"]


def test_saved_under_another_key(user: User) -> None:
    """A copy in the database has a companion of its own, opened in its states."""
    copied = User.objects.get()
    copied.pk, copied.username, copied.is_staff = None, "eve", True
    copied._state.adding = True
    copied.save()

    assert told(user) == []
    assert trail(Membership.objects.get(subject=copied)) == ["entered >active", "entered >staff"]


def test_ways_that_save(user: User) -> None:
    """Of a manager's methods, those that call save() are seen."""
    User.objects.update_or_create(username="ada", defaults={"is_active": False})
    User.objects.update_or_create(username="ada", defaults={"is_active": False})
    bob, _ = User.objects.get_or_create(username="bob", defaults={"is_staff": True})

    assert told(user) == ["moved active>barred"]
    assert trail(Membership.objects.get(subject=bob)) == ["entered >active", "entered >staff"]


def test_what_is_written_as_it_was_asks_nobody(user: User, tracker: ModelTracker) -> None:
    """Even a function that would have it entered anew."""
    tracker.states_to_stocks_func = lambda old, new: ((None, None), ("active", "staff"))
    other = User.objects.only("email").get()
    other.is_active = True
    other.save()

    assert told(user) == []


def test_when_it_looks_first(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save of other fields asks nothing, one that means a change locks at once, others look."""
    looked: list[Any] = []
    look = companions._has_seen

    def note(tracker: ModelTracker, key: Any, using: str) -> bool:
        looked.append(key)
        return look(tracker, key, using)

    monkeypatch.setattr(companions, "_has_seen", note)
    user.save(update_fields=["email"])
    user.is_active = False
    user.save()
    User(pk=user.pk + 1, username="new").save()
    before = list(looked)
    user.save()

    assert (before, looked) == ([], [user.pk])


def test_a_field_that_was_not_tracked_before(user: User, tracker: ModelTracker) -> None:
    """It is taken not to have changed since the subject was seen last."""
    told: list[Any] = []

    def note(old: Any, new: Any) -> Any:
        told.append((old, new))
        return (None, None), (None, None)

    tracker.states_to_stocks_func = note
    Membership.objects.update(tracked_values='{"is_active": true}')
    user.is_active = False
    user.save()

    assert told == [((True, False, None), (False, False, None))]


def test_an_expression(user: User) -> None:
    """What the database computes is seen as it came out."""
    user.is_active = Q(username="nobody")  # type: ignore[assignment]
    user.save()

    assert told(user) == ["moved active>barred"]


@pytest.mark.parametrize("make", [copy.copy, lambda user: pickle.loads(pickle.dumps(user))])
def test_a_copy_of_the_instance(user: User, make: Any) -> None:
    """Copies and pickles are watched on their own."""
    other = make(user)
    other.is_active = False
    other.save()

    assert told(user) == ["moved active>barred"]


def test_an_instance_from_before_the_tracker(user: User) -> None:
    """Such as one from a cache."""
    del user.__dict__["_stock_tracker_of_crm_membership"]
    user.is_active = False
    user.save()
    user.refresh_from_db()

    assert told(user) == ["moved active>barred"]


def test_a_proxy_is_tracked(user: User) -> None:
    """What is saved as a proxy is the same row."""
    person = Person.objects.get()
    person.is_active = False
    person.save()

    assert told(user) == ["moved active>barred"]


def test_a_subject_without_companion(user: User) -> None:
    """Its first save opens one."""
    User.objects.bulk_create([User(username="bob", is_active=False)])
    bob = User.objects.get(username="bob")
    bob.save()

    assert trail(Membership.objects.get(subject=bob)) == ["entered >barred", "entered >plain"]


@pytest.mark.django_db(transaction=True)
def test_writers_at_once() -> None:
    """Of a subject without companion: one opens it, each change is one event, nobody fails."""
    User.objects.bulk_create([User(username="bob")])

    def toggle() -> None:
        for _ in range(5):
            with transaction.atomic():
                mine = User.objects.select_for_update().get()
                mine.is_active = not mine.is_active
                mine.save()

    errors = at_once(toggle, toggle, toggle)
    row = Membership.objects.get()

    assert errors == []
    assert trail(row)[0] == "entered >barred"
    assert len(trail(row)) == 2 + 14
    assert row.standing == STANDING[User.objects.get().is_active]
    assert_whole(row)


@pytest.mark.django_db(transaction=True)
def test_a_worker_at_once(user: User, time: Clock) -> None:
    """The schedule and a save of the subject do not fail each other."""
    time.advance(timedelta(days=31))

    def bar() -> None:
        mine = User.objects.get()
        mine.is_active = False
        mine.save()

    assert at_once(run_due, bar) == []
    assert told(user) == ["moved active>dormant", "moved dormant>barred"]


def test_projections_apply(user: User, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A companion's sub-states are stocks, with flows, records and members as any other's."""
    monkeypatch.setattr(registry, "declared", registry.Registry())
    active = Stock("active", Membership.standing, states=["active"])
    barred = Stock("barred", Membership.standing, states=["barred"])
    barring = Flow("barring", sources=[active], sinks=[barred])
    User.objects.create(username="bob")
    start = time.at
    time.advance(timedelta(days=1))
    user.is_active = False
    user.save()
    time.advance(timedelta(days=1))
    sequence()
    list(project())

    assert [stock.count() for stock in (active, barred)] == [1, 1]
    assert [stock.count(at=start) for stock in (active, barred)] == [2, 0]
    assert barring.count(start, time.at) == 1
    assert barred.save_count().count == 1
    assert [row.subject for row in barred.all()] == [user]
    assert [member.object.subject for member in active.members(start)] == [  # type: ignore[union-attr]
        *User.objects.order_by("pk")
    ]


def test_deleting_the_subject_closes(user: User) -> None:
    """Both by instance and by queryset."""
    User.objects.create(username="bob")
    user.delete()
    User.objects.all().delete()

    assert not Membership.objects.exists()
    assert Event.objects.filter(kind="left").count() == 4


def test_a_decay_applies(user: User, time: Clock) -> None:
    """A companion decays as any object, and saving the subject for else does not undo it."""
    time.advance(timedelta(days=31))
    run_due()
    user.email = "new@example.org"
    user.save()

    assert told(user) == ["moved active>dormant"]


def test_a_decay_settles_first(user: User, time: Clock) -> None:
    """One that fell due before the change is recorded before it, at its instant."""
    time.advance(timedelta(days=31))
    user.is_active = False
    user.save()

    assert told(user) == ["moved active>dormant", "moved dormant>barred"]


def test_a_decay_settles_before_a_transition_is_chosen(user: User, time: Clock) -> None:
    """What leads to the state from where the decay led, not from where it was."""
    time.advance(timedelta(days=31))
    user.last_login = time()
    user.save()

    assert told(user) == ["moved active>dormant", "moved dormant>active"]


def test_entered_anew(user: User, time: Clock) -> None:
    """None before makes the clock of a decay start again."""
    time.advance(timedelta(days=20))
    user.last_login = time()
    user.save(update_fields=["last_login"])
    time.advance(timedelta(days=20))

    assert run_due() == 0
    assert told(user) == ["moved active>active"]


def test_what_cannot_be_followed_is_undone(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a transition neither the subject nor its companion changes."""
    Membership.objects.get().grant("staff")
    monkeypatch.setitem(STANDING, False, "expelled")
    user.is_active = False
    with pytest.raises(InvalidDeclaration, match="no transition from 'active' to 'expelled'"):
        user.save()

    assert User.objects.get().is_active
    assert told(user) == []


def test_a_computed_target_that_is_another(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transition that does not go where it is sent is refused."""
    monkeypatch.setattr(companions, "names_between", lambda *asked: [("keep", True)])
    user.is_staff = True

    with pytest.raises(InvalidDeclaration, match=r"keep\('staff'\) led to 'plain'"):
        user.save()


def test_reconcile_refuses_unknown_states(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that the machine does not have is not recorded."""
    monkeypatch.setitem(STANDING, False, "expelled")
    User.objects.update(is_active=False)
    with pytest.raises(UnknownState, match="has no state 'expelled'"):
        reconcile("--apply")

    assert told(user) == []


@pytest.mark.parametrize("pair", [None, (("a",), ("b",)), ("ab", "cd")])
def test_a_function_that_returns_something_else(
    user: User, tracker: ModelTracker, pair: Any
) -> None:
    """It says how many sub-states are wanted."""
    tracker.states_to_stocks_func = lambda old, new: pair
    user.is_active = False

    with pytest.raises(InvalidDeclaration, match="must return two tuples of 2 sub-states"):
        user.save()


def by_sql(user: User) -> None:
    """Write without the ORM."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET is_active = %s", [False])


BYPASSES = {
    "sql": by_sql,
    "upsert": lambda user: User.objects.bulk_create(
        [User(username="ada", is_active=False)],
        update_conflicts=True,
        update_fields=["is_active"],
        unique_fields=["username"],
    ),
    "update": lambda user: User.objects.update(is_active=False),
    "bulk_update": lambda user: User.objects.bulk_update(
        [User(pk=user.pk, is_active=False)], ["is_active"]
    ),
    "own raw": lambda user: changed(user).save_base(raw=True),
    "raw": lambda user: models.Model.save_base(changed(user), raw=True),
    "fixture": lambda user: load(serializers.serialize("json", [changed(user)])),
}


def changed(user: User) -> User:
    """Return the user as it is to be."""
    user.is_active = False
    return user


def load(fixture: str) -> None:
    """Save what a fixture holds."""
    for one in serializers.deserialize("json", fixture):
        one.save()


@pytest.mark.parametrize("bypass", BYPASSES.values(), ids=BYPASSES)
def test_bypasses_are_reconciled(user: User, bypass: Any) -> None:
    """They leave no event; the command shows what is missing, and records it once."""
    bypass(user)
    assert told(user) == []
    said = reconcile()

    assert f"auth.User {user.pk}" in said
    assert "'barred'" in said
    assert "Found 1 difference." in said
    assert told(user) == []
    assert "Recorded 1 difference." in reconcile("auth.User", "--apply")
    assert told(user) == ["reconciled active>barred"]
    assert_whole(Membership.objects.get())
    assert reconcile("--apply") == "Every row is as its last event says.\n"
    user.refresh_from_db()
    user.save()
    assert told(user) == ["reconciled active>barred"]


def test_a_stale_save_after_a_bypass(user: User) -> None:
    """Who writes back what was there leaves nothing to record."""
    User.objects.update(is_active=False)
    user.save()

    assert told(user) == []
    assert reconcile() == "Every row is as its last event says.\n"


def test_new_ones_are_reconciled(time: Clock) -> None:
    """Subjects from before the tracker get a companion without an inflow, and its timer."""
    User.objects.bulk_create([User(username="a"), User(username="b", is_active=False)])
    said = reconcile("crm.Membership", "--apply")
    rows = Membership.objects.order_by("subject__username")

    assert "Recorded 4 differences." in said
    assert [trail(row) for row in rows] == [
        ["reconciled >active", "reconciled >plain"],
        ["reconciled >barred", "reconciled >plain"],
    ]
    for row in rows:
        assert_whole(row)
    time.advance(timedelta(days=31))
    assert run_due() == 1


def test_a_decay_is_no_difference(user: User, time: Clock) -> None:
    """The companion left by itself where the subject's values had led it."""
    time.advance(timedelta(days=31))
    run_due()

    assert reconcile() == "Every row is as its last event says.\n"


def test_reconcile_settles_first(user: User, time: Clock) -> None:
    """A decay that fell due is recorded at its instant, before the adjustment."""
    User.objects.update(is_active=False)
    time.advance(timedelta(days=31))
    reconcile("--apply")

    assert told(user) == ["moved active>dormant", "reconciled dormant>barred"]


def test_reconcile_of_no_subject() -> None:
    """A model that nobody tracks is refused."""
    with pytest.raises(CommandError, match="no stock history"):
        reconcile("auth.Group")


@pytest.mark.parametrize(
    ("fields", "states", "said"),
    [
        ("is_active", [Membership.standing], "must be a list"),
        ([], [Membership.standing], "must be a list"),
        (["colour"], [Membership.standing], "no column 'colour'"),
        (["groups"], [Membership.standing], "no column 'groups'"),
        (["is_active"], [], "stock fields of one Companion"),
        (["is_active"], [Lead.temperature], "stock fields of one Companion"),
        (["is_active"], [Loner.state], "add subject = "),
        (["is_active"], [Doubtful.state], "add subject = "),
    ],
)
def test_declarations_are_checked(fields: Any, states: Any, said: str) -> None:
    """What cannot work is refused when it is declared."""
    with pytest.raises(InvalidDeclaration, match=said):
        ModelTracker(fields, sub_states, states)

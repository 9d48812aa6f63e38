"""Finding the subjects of trackers that changed without a ``save()``, and moving their companions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections, router, transaction

from stockflow import companions, conf, timers
from stockflow.eventstore.append import append_opening
from stockflow.fence.comparing import CHUNK, Difference
from stockflow.fence.reconciling import TOLD, adjust
from stockflow.ledgers import Pending
from stockflow.lifecycles import new_lifecycle
from stockflow.settling import due, settle
from stockflow.subjects import locked_rows, subject_of
from stockflow.tables import Kind
from stockflow.tracker import ModelTracker


def trackers_of(using: str, model: Any = None) -> list[ModelTracker]:
    """Return the trackers whose companions are in the database *using*, all or those of *model*.

    *model* is the class of the subjects, or of the companions.
    """
    return [
        tracker
        for tracker in companions.TRACKERS
        if router.allow_migrate_model(using, tracker.companion)
        and (model is None or issubclass(model, (tracker.model, tracker.companion)))
    ]


@dataclass(frozen=True)
class Behind:
    """A companion that did not see its subject's fields as they are now.

    Attributes:
        key: The subject's primary key.
        row: The companion; None where the subject has none yet.
        now: The tracked values.
        states: The state that each sub-state is to have; empty where only the values differ.
    """

    key: Any
    row: Any
    now: str
    states: dict[str, str]

    def differences(self, tracker: ModelTracker) -> list[Difference]:
        """Return one difference for each sub-state."""
        label, lifecycle = tracker.model._meta.label, str(getattr(self.row, "stock_lifecycle", ""))
        has = {
            name: repr(getattr(self.row, name)) if self.row else "nothing" for name in self.states
        }
        return [
            Difference(label, str(self.key), lifecycle, name, repr(state), has[name])
            for name, state in self.states.items()
        ]


def differences(using: str, trackers: Iterable[ModelTracker]) -> Iterator[Difference]:
    """Yield what the *trackers* missed, and change nothing."""
    for tracker in trackers:
        for keys in _chunks(using, tracker):
            for behind in _behind(using, tracker, keys):
                yield from behind.differences(tracker)


def catch_up(using: str, trackers: Iterable[ModelTracker]) -> Iterator[Difference]:
    """Record what the *trackers* missed, and yield each difference once it is committed.

    When it happened is not known, so it is recorded by events of kind ``reconciled``.
    """
    for tracker in trackers:
        for keys in _chunks(using, tracker):
            done: list[Difference] = []
            with transaction.atomic(using=using):
                for behind in _behind(using, tracker, keys, lock=True):
                    done += behind.differences(tracker)
                    _mend(using, tracker, behind)
            yield from done


def _chunks(using: str, tracker: ModelTracker) -> Iterator[list[Any]]:
    """Yield the keys of all subjects, each chunk after the last one's."""
    rows = tracker.model._base_manager.using(using).order_by("pk").values_list("pk", flat=True)
    keys = [*rows[:CHUNK]]
    while keys:
        yield keys
        keys = [*rows.filter(pk__gt=keys[-1])[:CHUNK]]


def _behind(
    using: str, tracker: ModelTracker, keys: list[Any], *, lock: bool = False
) -> list[Behind]:
    if lock:  # the subjects first, as a save does
        _lock(using, tracker, keys)
    companion = tracker.companion
    rows = locked_rows(companion, using) if lock else companion._base_manager.using(using)
    known = {row.subject_id: row for row in rows.filter(subject_id__in=keys)}
    found = []
    for key, now in sorted(companions.seen_now(tracker, using, keys).items()):
        row = known.get(key)
        if row is None:
            found.append(Behind(key, None, now, _opening(tracker, now)))
        elif row.tracked_values != now:
            moves = companions.moves(tracker, row.tracked_values, now)
            states = {move.reference.name: move.target for move in moves}
            states = {name: state for name, state in states.items() if state != getattr(row, name)}
            found.append(Behind(key, row, now, states))
    return found


def _lock(using: str, tracker: ModelTracker, keys: list[Any]) -> None:
    if connections[using].features.has_select_for_no_key_update:
        rows = tracker.model._base_manager.using(using).filter(pk__in=keys).order_by("pk")
        list(rows.select_for_update(no_key=True, of=("self",)).values_list("pk"))


def _opening(tracker: ModelTracker, now: str) -> dict[str, str]:
    given = companions.opening_states(tracker, now)
    fields = subject_of(tracker.companion).fields
    return {field.name: given.get(field.name, field.get_default()) for field in fields}


def _mend(using: str, tracker: ModelTracker, behind: Behind) -> None:
    row = behind.row
    if row is None:
        _open(using, tracker.companion(subject_id=behind.key), behind)
        return
    if settle(row, conf.now(using)):  # a decay that was due before has its say first
        row.save(using=using)
    _take(row, behind)
    adjust(row, using, [*behind.states, "tracked_values"])


def _take(row: Any, behind: Behind) -> None:
    for field in subject_of(type(row)).fields:
        if field.name in behind.states:
            field.check_state(row, behind.states[field.name])
    row.__dict__.update(behind.states, tracked_values=behind.now)


def _open(using: str, row: Any, behind: Behind) -> None:
    """Write the companion that a subject lacks, with its opening events."""
    at, subject = conf.now(using), subject_of(type(row))
    _take(row, behind)
    row.stock_lifecycle, row.stock_changed_at = new_lifecycle(), at
    row.stock_version = len(subject.fields)
    events = [
        Pending(name, Kind.RECONCILED, None, None, state, at, row._facet_values(), TOLD)
        for name, state in behind.states.items()
    ]
    for field in subject.fields:
        row.__dict__.update({field.since_name: at, field.due_name: due(row, field, at)})
    with connections[using].cursor() as cursor:
        append_opening(cursor, subject, str(row.stock_lifecycle), events)
        row.save_base(raw=True, using=using, force_insert=True)
        versions = {event.field: version for version, event in enumerate(events, 1)}
        timers.restart(row, cursor, versions)

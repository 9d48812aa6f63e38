"""Companion rows: what they saw last of their subjects, and how they follow them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder

from stockflow.errors import InvalidDeclaration
from stockflow.machines import names_between
from stockflow.moments import moment
from stockflow.settling import settle
from stockflow.subjects import locked_rows

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.tracker import ModelTracker

TRACKERS: list["ModelTracker"] = []
"""All that were declared, in order."""


@dataclass(frozen=True)
class Move:
    """A sub-state that a change of the subject leads to.

    Attributes:
        reference: Of which stock field.
        target: The state.
        is_anew: Whether it is entered again where it is the state already.
    """

    reference: "StockReference"
    target: str
    is_anew: bool


def follow(tracker: "ModelTracker", key: Any, using: str, *, is_meant: bool) -> None:
    """Bring the companion of the subject *key*, just written, to what its fields say now.

    The subject's row is locked by its own UPDATE or INSERT, so two writers come one by one.
    """
    if not is_meant and _has_seen(tracker, key, using):
        return
    now = seen_now(tracker, using, [key]).get(key)
    if now is None:
        return  # a receiver of its signals deleted it
    row = locked_rows(tracker.companion, using).filter(subject_id=key).first()
    if row is None:
        states = opening_states(tracker, now)
        tracker.companion(subject_id=key, tracked_values=now, **states).save(using=using)
    elif row.tracked_values != now:
        _move(tracker, row, now, using)


def _has_seen(tracker: "ModelTracker", key: Any, using: str) -> bool:
    rows = tracker.companion._base_manager.using(using).filter(subject_id=key)
    found = rows.values_list("tracked_values", *(f"subject__{n}" for n in tracker.attnames)).first()
    return found is not None and found[0] == _text(tracker, found[1:])


def _move(tracker: "ModelTracker", row: Any, now: str, using: str) -> None:
    settle(row, moment(row)[0])  # a decay that was due before has its say first
    for move in moves(tracker, row.tracked_values, now):
        _enter(tracker, row, move)
    row.tracked_values = now
    row.save(using=using)


def _enter(tracker: "ModelTracker", row: Any, move: Move) -> None:
    name, target = move.reference.name, move.target
    source = row.__dict__[name]
    found = names_between(type(row), name, source, target)
    if source == target and not (move.is_anew and found):
        return
    if not found:
        raise InvalidDeclaration(
            f"{row._meta.label}.{name} has no transition from {source!r} to {target!r}, which "
            f"{tracker} asks for: declare one, or one whose target is computed from its argument."
        )
    method, is_computed = found[0]
    getattr(row, method)(*([target] if is_computed else []))
    if row.__dict__[name] != target:
        raise InvalidDeclaration(
            f"{row._meta.label}.{method}({target!r}) led to {row.__dict__[name]!r}: a transition "
            f"with a computed target that {tracker} calls must enter the state that it is given."
        )


def moves(tracker: "ModelTracker", before: str, now: str) -> list[Move]:
    """Return what the change of the tracked values from *before* to *now* leads to."""
    old, new = _sub_states(tracker, before, now)
    return [
        Move(reference, target, source is None)
        for reference, source, target in zip(tracker.sub_states, old, new, strict=True)
        if target is not None and source != target
    ]


def opening_states(tracker: "ModelTracker", now: str) -> dict[str, str]:
    """Return the states in which the companion of a new subject begins, where not the default."""
    _, new = _sub_states(tracker, "", now)
    named = zip(tracker.sub_states, new, strict=True)
    return {reference.name: state for reference, state in named if state is not None}


def _sub_states(
    tracker: "ModelTracker", before: str, now: str
) -> tuple[Sequence[str | None], Sequence[str | None]]:
    kept: dict[str, Any] = json.loads(now)
    # What was not tracked when the subject was seen last is taken not to have changed since.
    past = {**kept, **json.loads(before)} if before else {}
    pair: Any = tracker.states_to_stocks_func(_values(tracker, past), _values(tracker, kept))
    size = len(tracker.sub_states)
    if not (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(half, tuple | list) and len(half) == size for half in pair)
    ):
        raise InvalidDeclaration(
            f"states_to_stocks_func of {tracker} must return two tuples of {size} "
            f"sub-state{'' if size == 1 else 's'}, before and now, not {pair!r}."
        )
    return pair[0], pair[1]


def seen_now(tracker: "ModelTracker", using: str, keys: Sequence[Any]) -> dict[Any, str]:
    """Return the tracked values of the subjects *keys* as the database has them, as text."""
    rows = tracker.model._base_manager.using(using).filter(pk__in=keys)
    found = rows.values_list("pk", *tracker.attnames)
    return {key: _text(tracker, values) for key, *values in found}


def _text(tracker: "ModelTracker", values: Sequence[Any]) -> str:
    known = SimpleNamespace(**dict(zip(tracker.attnames, values, strict=True)))
    texts = {
        field.attname: None if value is None else field.value_to_string(known)
        for field, value in zip(tracker.fields, values, strict=True)
    }
    return json.dumps(texts, cls=DjangoJSONEncoder, ensure_ascii=False)


def _values(tracker: "ModelTracker", kept: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values that were *kept* as texts; all are None where nothing was seen yet."""
    texts = [kept.get(field.attname) for field in tracker.fields]
    pairs = zip(tracker.fields, texts, strict=True)
    return tuple(None if text is None else field.to_python(text) for field, text in pairs)

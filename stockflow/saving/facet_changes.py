"""Facets that changed between the events of one save."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow.contexts import Circumstances
from stockflow.ledgers import Pending, ledger_of
from stockflow.moments import moment
from stockflow.saving.work import Work, set_values
from stockflow.subjects import subject_of
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


def changed_facets(instance: "StockflowModel", names: frozenset[str] | None) -> set[str]:
    """Return the facet columns that the instance changed and this save is to write."""
    known, loaded, changed = instance.__dict__, ledger_of(instance).loaded, set()
    for attname, column in subject_of(type(instance)).facet_columns.items():
        if attname not in known or (attname in loaded and known[attname] == loaded[attname]):
            continue
        if names is None or column.name in names or attname in names:
            instance._refuse_expression(attname)
            changed.add(attname)
    for attname in changed - loaded.keys():  # set while it was deferred
        instance._load_stock_columns()  # first, so that a change in between is a conflict
        loaded[attname] = _stored(instance, attname)
    return changed


def _stored(instance: "StockflowModel", attname: str) -> Any:
    rows = type(instance)._base_manager.using(ledger_of(instance).work.using)
    return rows.filter(pk=instance.pk).values_list(attname, flat=True).first()


def facets_before(instance: "StockflowModel", work: Work) -> dict[str, Any]:
    """Return the facet columns as they were before the first of the events."""
    if work.base is None:
        return dict(work.taken[0].facets) if work.taken else instance._facet_values()
    return instance._facet_values() | ledger_of(instance).loaded


def with_facet_changes(instance: "StockflowModel", work: Work) -> list[Pending]:
    """Return the pending events, with a reclassified one wherever a facet changed between them."""
    fields = subject_of(type(instance)).facet_columns and subject_of(type(instance)).fields
    if not fields:
        return work.taken
    before = facets_before(instance, work)
    # What this save does not write stays as the row has it.
    fixed = {} if work.base is None else {n: v for n, v in before.items() if n not in work.columns}
    states = {f.name: _state_before(instance, f.name) for f in fields}
    events: list[Pending] = []
    for event in work.taken:
        facets = {**event.facets, **fixed}
        events += _reclassify(
            instance, states, before, facets, event.occurred_at, event.circumstances
        )
        event.facets, before = facets, facets
        events.append(event)
        states[event.field] = event.target
    after = {**instance._facet_values(), **fixed}
    if after != before and work.base is not None:
        at, told = moment(instance)
        events += _reclassify(instance, states, before, after, at, told)
        set_values(instance, work, stock_changed_at=at)
    elif after != before:
        last = work.taken[-1]
        events += _reclassify(instance, states, before, after, last.occurred_at, last.circumstances)
    return events


def _state_before(instance: "StockflowModel", name: str) -> str | None:
    moves = [p for p in ledger_of(instance).pending if p.field == name]
    state: str | None = moves[0].source if moves else getattr(instance, name)
    return state


def _reclassify(
    instance: "StockflowModel",
    states: dict[str, str | None],
    before: dict[str, Any],
    after: dict[str, Any],
    at: "datetime",
    told: Circumstances,
) -> list[Pending]:
    """Return one event for each field that has a facet on a changed column."""
    if before == after:
        return []
    changed = {name for name in after if before.get(name) != after[name]}
    subject = subject_of(type(instance))
    return [
        Pending(f.name, Kind.RECLASSIFIED, None, states[f.name], states[f.name], at, after, told)
        for f in subject.fields
        if changed & {path.attname for path in subject.facets(f.name).values()}
    ]

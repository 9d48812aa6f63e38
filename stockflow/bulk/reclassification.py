"""Recording what changed without a transition: facets behind relations, and renamed states."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections, models, transaction

from stockflow.bulk import chunks
from stockflow.bulk.cells import facets_sql, tables_sql
from stockflow.bulk.methods import Loaded, write
from stockflow.bulk.transitions import CHUNK, Progress
from stockflow.errors import InvalidDeclaration
from stockflow.fields import tables_of
from stockflow.ledgers import Call, ledger_of, remember
from stockflow.listening import told
from stockflow.moments import moment
from stockflow.rows import among
from stockflow.settling import due, settle
from stockflow.subjects import subject_of
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.fields import StockField
    from stockflow.models import StockflowModel


def reclassify(
    queryset: "models.QuerySet[Any]",
    name: str | None,
    states: Mapping[str, str],
    *,
    chunk_size: int | None,
    progress: Progress | None,
) -> int:
    """Reclassify the objects of *queryset*, a transaction per chunk; return how many."""
    chunks.refuse_shape(queryset, "reclassify()")
    field = _field(queryset.model, name, states)
    size, done, using = chunks.size_of(chunk_size, CHUNK), 0, queryset.db
    pages = chunks.pages(queryset, size)
    while True:
        with transaction.atomic(using=using), told(queryset.model._meta.label_lower, using):
            keys = next(pages, [])
            if keys:
                done += (
                    _reclassify_facets(queryset, keys)
                    if field is None
                    else _reclassify_states(queryset, field, states, keys)
                )
        if not keys:
            return done
        if progress is not None:
            progress(len(keys))


def _field(
    model: type[models.Model], name: str | None, states: Mapping[str, str]
) -> "StockField | None":
    """Return the field whose states are to be mapped, or None."""
    if not states:
        return None
    fields = {field.name: field for field in subject_of(model).fields}
    if name not in fields:
        raise InvalidDeclaration(
            f"{model._meta.label} has no stock field {name!r} whose states could be reclassified "
            f"(it has: {', '.join(map(repr, fields))})."
        )
    for target in states.values():
        fields[name].check_state(model(), target)
    return fields[name]


def _reclassify_states(
    queryset: "models.QuerySet[Any]",
    field: "StockField",
    states: Mapping[str, str],
    keys: list[Any],
) -> int:
    def remember_state(row: "StockflowModel") -> None:
        _remember_state(row, field, states)

    return _record(queryset, queryset.model, keys, remember_state)


def _reclassify_facets(queryset: "models.QuerySet[Any]", keys: Sequence[Any]) -> int:
    """Reclassify each object as what it is: a child has fields that its parent does not know."""
    using = queryset.db
    drifted = _drifted_by_class(queryset, keys)
    if len(drifted) > 1:  # all in the order of their keys, as others lock them
        list(
            chunks.lock(
                queryset.model, using, sorted(key for its in drifted.values() for key in its)
            )
        )
    return sum(_record_facets(queryset, model, its) for model, its in drifted.items())


def _drifted_by_class(
    queryset: "models.QuerySet[Any]", keys: Sequence[Any]
) -> dict[type[models.Model], dict[Any, "set[StockField]"]]:
    """Return what :func:`_drifted` finds, each object under the class that knows all its fields."""
    own: Any = queryset.model._meta.concrete_model
    using, left = queryset.db, list(keys)
    found: dict[type[models.Model], dict[Any, set[StockField]]] = {}
    for table in tables_of(own):
        model = queryset.model if table is own else table
        its = set(left) if table is own else _existing(table, using, left)
        if drifted := _drifted(model, using, [key for key in left if key in its]):
            found[model] = drifted
        left = [key for key in left if key not in its]
    return found


def _existing(model: type[models.Model], using: str, keys: Sequence[Any]) -> set[Any]:
    """Return which of *keys* are objects of *model*."""
    rows: models.QuerySet[Any] = models.QuerySet(model, using=using)
    name = chunks.key_name(model)
    return set(rows.filter(**{f"{name}__in": keys}).values_list(name, flat=True))


def _record_facets(
    queryset: "models.QuerySet[Any]",
    model: type[models.Model],
    drifted: Mapping[Any, "set[StockField]"],
) -> int:
    name = chunks.key_name(model)

    def remember_facets(row: "StockflowModel") -> None:
        _remember_facets(row, drifted[getattr(row, name)])

    return _record(queryset, model, list(drifted), remember_facets)


def _record(
    queryset: "models.QuerySet[Any]",
    model: type[models.Model],
    keys: Sequence[Any],
    remember: "Callable[[StockflowModel], None]",
) -> int:
    """Write what *remember* adds to the objects of *model* that still are the queryset's."""
    using, name = queryset.db, chunks.key_name(model)
    rows = list(chunks.lock(model, using, keys))
    ours, loaded = chunks.matching(queryset, keys), []
    for row in rows:
        if getattr(row, name) not in ours:
            continue
        one = Loaded(row)
        remember(row)
        if ledger_of(row).pending:
            loaded.append(one)
    return len(loaded) - len(write(model, loaded, using))


def _drifted(
    model: type[models.Model], using: str, keys: Sequence[Any]
) -> dict[Any, "set[StockField]"]:
    """Return which fields of which objects show other facets than their last events have."""
    subject, connection = subject_of(model), connections[using]
    known = dict(zip(chunks.prepared(subject, using, keys), keys, strict=True))
    found: dict[Any, set[StockField]] = {}
    for field in subject.fields:
        if any(not path.is_own for path in subject.facets(field.name).values()):
            for key in _differing(connection, subject, field.name, [*known]):
                found.setdefault(known[key], set()).add(field)
    return dict(sorted(found.items(), key=lambda pair: pair[0]))


def _differing(connection: Any, subject: Any, field: str, keys: Sequence[Any]) -> list[Any]:
    pk = f"r.{connection.ops.quote_name(subject.table._meta.pk.column)}"
    join, join_values = chunks.last_join(connection, subject, field)
    test, values = among(connection, pk, keys)
    sql = (
        f"SELECT {pk} FROM {tables_sql(connection, subject)}{join} WHERE {test} "
        f"AND l.target_facets <> {facets_sql(connection, subject, field, keep=True)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*join_values, *values])
        return [key for (key,) in cursor.fetchall()]


def _remember_facets(row: "StockflowModel", fields: "set[StockField]") -> None:
    """Settle, then add an event for each of *fields* that no settled decay reads anew."""
    at, told = moment(row)
    settle(row, at)
    settled = {event.field for event in ledger_of(row).pending}
    for field in subject_of(type(row)).fields:
        if field in fields and field.name not in settled:
            state = row.__dict__[field.name]
            call = Call(None, at, told)
            remember(row, field, Kind.RECLASSIFIED, call, state, state)


def _remember_state(row: "StockflowModel", field: "StockField", states: Mapping[str, str]) -> None:
    """Settle, then put the object into the state that stands for its own; its spell goes on."""
    at, told = moment(row)
    settle(row, at)
    known, before = row.__dict__, row.__dict__[field.name]
    after = str.__str__(states.get(before, before))
    if after == before:
        return
    had_timer = known[field.due_name] is not None
    known[field.name] = after
    known[field.due_name] = due(row, field, known[field.since_name] or at)
    call = Call(None, at, told)
    remember(row, field, Kind.RECLASSIFIED, call, before, after, had_timer=had_timer)

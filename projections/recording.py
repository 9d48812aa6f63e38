"""Writing records: new ones, and those that the log tells otherwise by now."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from stockflow import conf
from stockflow.domain.cells import NOT_RECORDED, encode_value
from stockflow.domain.measures.levels import in_order
from stockflow.projections.counting import Count, slug_of
from stockflow.projections.facets import By, facet_of
from stockflow.projections.records import FlowRecord, StockRecord

CHUNK = 500
"""How many records one transaction writes."""


@dataclass(frozen=True)
class Written:
    """What became of some records.

    Attributes:
        new: How many were not there.
        restated: How many were there and said otherwise: what became known later is in them now.
        unchanged: How many said the same.
    """

    new: int = 0
    restated: int = 0
    unchanged: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.new + other.new, self.restated + other.restated, self.unchanged + other.unchanged
        )


Texts = Callable[[str, Hashable], str]
"""Gives the JSON text of a facet's value."""


def write(
    records: Sequence[Any],
    counts: Iterable[Count],
    facets: Sequence[By],
    *,
    key: tuple[str, ...],
    text_of: Texts,
    using: str,
) -> Written:
    """Write *records*, which have no number yet, with their parts, in one transaction.

    What is there under the same *key* is replaced where it says otherwise.
    """
    model: type[StockRecord | FlowRecord] = type(records[0])
    now, part = conf.now(using), model._meta.get_field("facets").related_model
    wanted = []
    for record, count in zip(records, counts, strict=True):
        record.count, record.recorded_at = count.number, now
        wanted.append((record, _parts(count, facets, text_of)))
    with transaction.atomic(using=using):
        rows = model._default_manager.using(using)
        known = _known(rows, records, key)
        new = [pair for pair in wanted if _key(pair[0], key) not in known]
        stale = [
            pair
            for pair in wanted
            if (row := known.get(_key(pair[0], key))) is not None and not _agrees(row, *pair)
        ]
        parts = part._default_manager.using(using)
        for record, _ in stale:  # the row stays: who waits for its lock finds it again
            record.pk = known[_key(record, key)].pk
        restated = [record for record, _ in stale]
        rows.bulk_update(restated, ["count", "recorded_at"])
        parts.filter(record__in=restated).delete()
        rows.bulk_create([record for record, _ in new])
        parts.bulk_create(
            [
                part(record=record, facet=facet, value=value, label=label, count=number)
                for record, own in (*new, *stale)
                for (facet, value), (label, number) in own.items()
            ]
        )
    return Written(len(new), len(stale), len(wanted) - len(new) - len(stale))


def _known(rows: Any, records: Sequence[Any], key: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    """Return what is there of *records*, by its key, locked."""
    first, last = _key(records[0], key), _key(records[-1], key)
    span = {f"{key[1]}__gte": first[1], f"{key[1]}__lte": last[1]}
    found = rows.filter(**{key[0]: first[0]}, **span).select_for_update()
    return {_key(row, key): row for row in found.prefetch_related("facets")}


Own = dict[tuple[str, str], tuple[str, int]]


def _parts(count: Count, facets: Sequence[By], text_of: Texts) -> Own:
    found: Own = {}
    for by in facets:
        slug, facet = slug_of(by), facet_of(by)
        own = count.parts[slug]
        for value in in_order(own):
            text = "" if value is NOT_RECORDED else text_of(slug, value)
            label = str(value) if facet is None else facet.label(value)
            found[slug, text] = label, own[value]
    return found


def _agrees(row: Any, record: Any, own: Own) -> bool:
    kept = {(part.facet, part.value): (part.label, part.count) for part in row.facets.all()}
    return row.count == record.count and kept == own


def _key(record: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in names)


def plain_text(value: Any) -> str:
    """Return a sampled value as JSON text: as itself where JSON has it, else as text."""
    is_plain = value is None or isinstance(value, bool | int | str)
    return encode_value(value if is_plain else str(value))

"""Looking for what was altered: in the hash chain, the list of events, their versions, the rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.models import Max

from stockflow.eventstore.chain import GENESIS, SAID, as_bytes, columns, hash_of
from stockflow.fence import relations
from stockflow.fence.comparing import first
from stockflow.tables import STOCKFLOW, Position, Unsequenced

CHUNK = 1000

_ALTERED = "it, or its event {}, was altered: the hash is not that of its content"

_UNLISTED = """
SELECT e.id FROM stockflow_event e
WHERE NOT EXISTS (SELECT 1 FROM stockflow_position p WHERE p.event = e.id)
AND NOT EXISTS (
    SELECT 1 FROM stockflow_unsequenced u WHERE u.event = e.id AND u.application = e.application
) ORDER BY e.id LIMIT %s
"""

_MISLISTED = """
SELECT u.event FROM stockflow_unsequenced u
WHERE NOT EXISTS (SELECT 1 FROM stockflow_event e WHERE e.id = u.event)
OR EXISTS (SELECT 1 FROM stockflow_position p WHERE p.event = u.event)
ORDER BY u.event LIMIT %s
"""

_UNEVEN = """
SELECT {}, min(version), max(version), count(*) FROM stockflow_event
WHERE application = %s GROUP BY originator
HAVING min(version) <> 1 OR max(version) <> count(*) ORDER BY originator LIMIT %s
"""


_CHAIN = """
SELECT p.event, p.position, p.sequenced_at, p.hash, p.salt, p.digest,
       CASE WHEN p.digest IS NOT NULL THEN e.kind <> 'erased' AND EXISTS (
           SELECT 1 FROM stockflow_event x
           WHERE x.application = 'stockflow' AND x.application = p.application
           AND x.originator = e.originator AND x.version > e.version AND x.kind = 'erased'
       ) END, {columns}
FROM stockflow_position p LEFT JOIN stockflow_event e ON e.id = p.event
WHERE p.application = %s AND p.position > %s AND p.position <= %s ORDER BY p.position
"""


@dataclass(frozen=True)
class Wrong:
    """One thing that is not as it was written.

    Attributes:
        where: The position, event or object.
        what: What is wrong with it.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class _Row(NamedTuple):
    """A position with its event."""

    event: Any
    position: Any
    at: Any
    hash: Any
    salt: Any
    digest: Any
    is_erased: bool | None
    content: tuple[Any, ...]

    def linked(self, previous: bytes, application: str) -> bytes:
        """Return the hash that it must have."""
        place = application, self.position, self.at
        return hash_of(previous, place, self.content, salt=self.salt, digest=self.digest)


@dataclass(frozen=True)
class Step:
    """What one piece of the work found.

    Attributes:
        positions: How many positions it verified.
        last: The last one verified of the stock log; None in other work.
        wrong: What it found.
        drifted: What changed behind relations and is not recorded yet. Nothing is wrong with that.
    """

    positions: int = 0
    last: int | None = None
    wrong: tuple[Wrong, ...] = ()
    drifted: tuple[relations.Drift, ...] = ()


def verify(using: str = DEFAULT_DB_ALIAS, *, since: int = 0, shown: int = 10) -> Iterator[Step]:
    """Yield, step by step, what is wrong with the log; nothing is, if no step has any.

    Each chain is read up to its first wrong position: what follows is linked to it. Writers
    need not stop, and what they write meanwhile raises no alarm. Rows are compared with the
    log as it is, altered or not; what lies behind their relations only with one that is whole.

    Args:
        using: The alias of the database that has the log.
        since: The position of the stock log up to which it was verified before.
        shown: How many things of one sort to tell.
    """
    is_whole = True
    for step in _log(using, since, shown):
        is_whole = is_whole and not step.wrong
        yield step
    if is_whole:
        yield Step(wrong=tuple(_rows(using, shown)))
        yield Step(drifted=tuple(relations.first(using, shown)))
    else:
        yield Step(wrong=tuple(_rows_of_altered(using, shown)))


def _log(using: str, since: int, shown: int) -> Iterator[Step]:
    yield from _chain(using, STOCKFLOW, since)
    for application in sorted({*applications(using)} - {STOCKFLOW}):
        if last_position(using, application):
            yield from (replace(step, last=None) for step in _chain(using, application, 0))
        else:  # what it is called is not what is stored
            yield Step(
                wrong=(Wrong(f"A position of {application!r}", "its application was altered"),)
            )
    yield Step(wrong=tuple(_lists(using, shown)))
    yield Step(wrong=tuple(_versions(using, shown)))


def applications(using: str) -> list[str]:
    """Return the applications that have positions, however damaged their names."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT {as_bytes(connection, 'application')} FROM stockflow_position"
        )
        return [_decoded(name) for (name,) in cursor.fetchall()]


def _decoded(text: bytes | memoryview) -> str:
    return bytes(text).decode(errors="replace")


def total(using: str, since: int = 0) -> int:
    """Return how many positions there are to verify."""
    after = Position.objects.using(using).exclude(application=STOCKFLOW, position__lte=since)
    return after.count()


def waiting(using: str) -> int:
    """Return how many events have no position yet, so that no hash covers them."""
    return Unsequenced.objects.using(using).count()


def last_position(using: str, application: str = STOCKFLOW) -> int:
    """Return the last position of the application's log; 0 for an empty one."""
    positions = Position.objects.using(using).filter(application=application)
    return positions.aggregate(last=Max("position"))["last"] or 0


def _chain(using: str, application: str, since: int) -> Iterator[Step]:
    previous = _hash_at(using, application, since)
    if previous is None:
        gone = f"it is gone, and the last one is {last_position(using, application)}"
        yield Step(wrong=(Wrong(_name(since, application), gone),))
        return
    last, end = since, last_position(using, application)
    while last < end:
        rows = _read(using, application, last)
        if not rows:
            yield Step(
                0, last, (Wrong(_name(last + 1, application), "it is gone, with those after it"),)
            )
            return
        for count, row in enumerate(rows):
            if (what := _wrong(row, last + 1)) is None:
                previous = row.linked(previous, application)
                if previous != row.hash:
                    what = _ALTERED.format(row.event)
            if what is not None:
                yield Step(count, last, (Wrong(_name(last + 1, application), what),))
                return
            last += 1
        yield Step(len(rows), last)


def _wrong(row: _Row, expected: int) -> str | None:
    """Return what is wrong with a position before its hash is looked at."""
    if row.position != expected:
        return f"it is gone, and the next one is {row.position}"
    if row.content[0] is None:  # the event's id
        return f"its event {row.event} is gone"
    if (row.salt is None) == (row.digest is None):
        return _ALTERED.format(row.event)
    if row.digest is not None and not row.is_erased:
        return f"what its event {row.event} said is gone, and no later event of its object says so"
    if row.digest is not None and any(row.content[-len(SAID) : -1]):
        return f"what was erased of its event {row.event} is there again"
    return None


def _hash_at(using: str, application: str, position: int) -> bytes | None:
    if position == 0:
        return GENESIS
    positions = Position.objects.using(using).filter(application=application, position=position)
    digest = positions.values_list("hash", flat=True).first()
    return None if digest is None else bytes(digest)


def _read(using: str, application: str, after: int) -> list[_Row]:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            _CHAIN.format(columns=columns(connection)), [application, after, after + CHUNK]
        )
        return [_Row._make((*row[:7], row[7:])) for row in cursor.fetchall()]


def _name(position: int, application: str) -> str:
    return f"Position {position}" + ("" if application == STOCKFLOW else f" of {application}")


def _lists(using: str, shown: int) -> Iterator[Wrong]:
    with connections[using].cursor() as cursor:
        cursor.execute(_UNLISTED, [shown])
        for (event,) in cursor.fetchall():
            yield Wrong(f"Event {event}", "it has no position and does not wait for one")
        cursor.execute(_MISLISTED, [shown])
        for (event,) in cursor.fetchall():
            yield Wrong(f"Event {event}", "it waits for a position, and has one or does not exist")


def _versions(using: str, shown: int) -> Iterator[Wrong]:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_UNEVEN.format(as_bytes(connection, "originator")), [STOCKFLOW, shown])
        for originator, first, last, count in cursor.fetchall():
            what = f"its versions have a gap: {count} events from version {first} to {last}"
            yield Wrong(f"Lifecycle {_decoded(originator)}", what)


def _rows(using: str, shown: int) -> Iterator[Wrong]:
    for found in first(using, shown):
        name = found.key or f"of lifecycle {found.lifecycle}"
        what = f"its {found.field or 'version'} is not that of its last event"
        yield Wrong(
            f"{found.model} {name}", f"{what}: the row says {found.row}, the log {found.log}"
        )


def _rows_of_altered(using: str, shown: int) -> Iterator[Wrong]:
    """Compare with a log that may have become unreadable, and say so where it has."""
    try:
        with transaction.atomic(using=using):  # on PostgreSQL an error would end a caller's
            yield from [*_rows(using, shown)]
    except (DatabaseError, ValueError) as error:
        yield Wrong("The rows", f"they cannot be compared with a log that was altered: {error}")

"""The local days of a batch of events, bound to a statement: the database knows no time zone."""

import json
from contextvars import ContextVar
from datetime import tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import DateField, F, Func

from stockflow.domain.days import MICROS_A_DAY, Day, days_around, fingerprint

ORDINAL: Final = {
    "postgresql": "(%s::integer[])[width_bucket({at}, %s::bigint[])]",
    "sqlite": "(SELECT d.ordinal FROM stockflow_days d WHERE d.start <= {at}"
    " ORDER BY d.start DESC LIMIT 1)",
}
"""The number of the day of an instant; what it binds comes from :func:`bound`."""

_DATE: Final = {
    "postgresql": f"(DATE '0001-01-01' + ({ORDINAL['postgresql']} - 1))",
    "sqlite": f"date('0001-01-01', '+' || ({ORDINAL['sqlite']} - 1) || ' days')",
}
_bound: ContextVar[list[Any]] = ContextVar("stockflow_days")


def with_rules(zone: ZoneInfo) -> str:
    """Return what a generation that counts by the days of *zone* keeps of it.

    Its name, and a fingerprint of its rules: an update of tzdata may give it other days.
    """
    return f"{zone.key} {fingerprint(zone)}"


def zone_of(kept: str) -> ZoneInfo:
    """Return the zone of which :func:`with_rules` was kept."""
    return ZoneInfo(kept.partition(" ")[0])


def days_of(cursor: Any, instants: str, zone: tzinfo) -> list[Any]:
    """Find the days of instants and return what :data:`ORDINAL` binds, for the cursor's database.

    Args:
        cursor: Of the database.
        instants: A query of a column *at*, in microseconds.
        zone: Whose days.
    """
    cursor.execute(f"SELECT DISTINCT i.at / {MICROS_A_DAY} FROM ({instants}) i")
    # Division rounds to zero, so that a day before 1970 may show as the next one.
    utc_days = {day + near for (day,) in cursor.fetchall() for near in (-1, 0)}
    return _bind(cursor, days_around(utc_days, zone))


def _bind(cursor: Any, days: list[Day]) -> list[Any]:
    """Return the parameters that tell the statement the days, left in a table on SQLite."""
    if cursor.db.vendor == "postgresql":
        return [[day.ordinal for day in days], [day.start for day in days]]
    cursor.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS stockflow_days"
        " (start integer PRIMARY KEY, ordinal integer)"
    )
    cursor.execute("DELETE FROM stockflow_days")
    cursor.execute(
        "INSERT INTO stockflow_days SELECT json_extract(value, '$[0]'),"
        " json_extract(value, '$[1]') FROM json_each(%s)",
        [json.dumps(days)],
    )
    return []


class LocalDay(Func):
    """The date of an event in the zone of ``STOCKFLOW_TIME_ZONE``, in an additive declaration.

    ::

        Adds({"entries": 1}, to={"day": LocalDay()})

    It is the day on which the event occurred: of other instants no days are looked up.
    """

    def __init__(self) -> None:
        super().__init__(F("occurred_at"), output_field=DateField())

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:  # type: ignore[override]  # it has no template
        at, values = compiler.compile(self.source_expressions[0])
        days = _bound.get()
        sql = _DATE[connection.vendor].format(at=at)
        return sql, [*days[:1], *values, *days[1:]]


def use(days: list[Any]) -> None:
    """Let each :class:`LocalDay` that is compiled next in this thread mean these days."""
    _bound.set(days)

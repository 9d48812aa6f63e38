"""Instants: aware datetimes for people, integer microseconds UTC for storage."""

from datetime import UTC, datetime, timedelta

from stockflow.domain.errors import InvalidInstant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """Return *at* as whole microseconds since 1970-01-01T00:00Z, exactly.

    >>> to_micros(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC instant of *micros* microseconds since 1970.

    >>> from_micros(86_400_000_000)
    datetime.datetime(1970, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return EPOCH + timedelta(microseconds=micros)


def require_instant(at: object, name: str) -> datetime:
    """Return *at* in UTC, or refuse what is no instant.

    Args:
        at: What the caller gave.
        name: How the caller calls it, for the message.

    Raises:
        InvalidInstant: If *at* is not a datetime, or has no time zone.
    """
    if not isinstance(at, datetime):
        raise InvalidInstant(
            f"{name} must be a timezone-aware datetime, not {at!r}: a date is not an instant."
        )
    if at.utcoffset() is None:
        raise InvalidInstant(
            f"{name} must be timezone-aware, not {at!r}: give it a zone, such as tzinfo=UTC."
        )
    return at.astimezone(UTC)

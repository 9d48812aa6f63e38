"""An event's payload: what it keeps beside its columns, as a JSON object."""

import json
from typing import Any

from stockflow.contexts import SCHEDULE_KEY, Circumstances
from stockflow.domain.instants import to_micros


def payload_text(told: Circumstances, key: str | None = None, clock: str = "null") -> str | None:
    """Return what an event keeps beside its columns, in JSON; None if that is nothing.

    Args:
        told: Who, why and when.
        key: The primary key of an object that leaves.
        clock: The version of the event that set a decay's clock.
    """
    parts = []
    if told.cause is not None:
        parts.append(f'"cause":{cause_text(to_micros(told.cause.due_at), clock)}')
    if told.data:
        parts.append(f'"data":{told.data}')
    if key is not None:
        parts.append(f'"key":{json.dumps(key, ensure_ascii=False)}')
    return f"{{{','.join(parts)}}}" if parts else None


def cause_text(due_at: int | str, clock: int | str) -> str:
    """Return how the log tells a decay's timer: its due instant, and the version that set it."""
    return f'{{"due_at":{due_at},"version":{clock}}}'


def lasting(payload: bytes | None) -> bytes | None:
    """Return what of a *payload* tells of no person, and stays when it is erased; None for nothing.

    That is the cause of a decay, and what the schedule wrote of decays. Data that a caller gave,
    and the key of an object that left, are not.

    >>> lasting(b'{"cause":{"due_at":7,"version":1},"data":{"name":"Ida"},"key":"42"}')
    b'{"cause":{"due_at":7,"version":1}}'
    >>> lasting(b'{"data":{"name":"Ida"}}') is None
    True
    """
    kept = _lasting(_parsed(payload))
    return json.dumps(kept, separators=(",", ":"), sort_keys=True).encode() if kept else None


def outlasts(payload: bytes | None) -> bool:
    """Whether all of a *payload* is :func:`lasting`.

    >>> outlasts(b'{"cause":{"due_at":7,"version":1}}'), outlasts(b'{"key":"42"}')
    (True, False)
    """
    known = _parsed(payload)
    return bool(known == _lasting(known))


def _parsed(payload: bytes | None) -> Any:
    try:
        return json.loads(payload or b"{}")
    except (ValueError, RecursionError):  # it was altered
        return None


def _lasting(known: Any) -> dict[str, Any]:
    if not isinstance(known, dict):
        return {}
    kept = {"cause": known["cause"]} if "cause" in known else {}
    data = known.get("data")
    if isinstance(data, dict) and SCHEDULE_KEY in data:
        kept["data"] = {SCHEDULE_KEY: data[SCHEDULE_KEY]}
    return kept

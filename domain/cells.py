"""Facet values as canonical JSON text: what identifies a cell together with its state."""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Final

FacetValue = str | int | bool | None

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_quote = json.encoder.encode_basestring


class _NotRecorded(Enum):
    NOT_RECORDED = "not recorded"

    def __repr__(self) -> str:
        return "NOT_RECORDED"

    def __str__(self) -> str:
        return "not recorded"


NOT_RECORDED: Final = _NotRecorded.NOT_RECORDED
"""The value of a facet in events written before it was declared: unknown, never guessed."""


def encode_value(value: FacetValue) -> str:
    """Return *value* as JSON text, the same on every database.

    >>> encode_value("web"), encode_value(None)
    ('"web"', 'null')
    """
    if type(value) is str:
        return _quote(value)  # what the encoder comes to, after some looking about
    return _encode(value)


def encode_facets(values: Mapping[str, FacetValue]) -> str:
    """Return *values* as canonical JSON text: keys sorted, no spaces.

    >>> encode_facets({"team": 3, "channel": "web"})
    '{"channel":"web","team":3}'
    """
    return _encode(values)


def decode_facets(text: str | None) -> dict[str, FacetValue]:
    """Return the facet values in *text*; none for the outside.

    >>> decode_facets('{"channel":"web"}')
    {'channel': 'web'}
    """
    return json.loads(text) if text else {}

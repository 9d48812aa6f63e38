"""Facets as canonical JSON text."""

import json
import pickle

from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.cells import NOT_RECORDED, decode_facets, encode_facets, encode_value

VALUES = st.none() | st.booleans() | st.integers() | st.text()
FACETS = st.dictionaries(st.text(), VALUES)


@given(FACETS)
def test_facets_come_back(values: dict[str, str | int | bool | None]) -> None:
    """Whatever text, number, truth or nothing they are."""
    assert decode_facets(encode_facets(values)) == values


@given(FACETS)
def test_the_text_does_not_depend_on_the_order(values: dict[str, str | int | bool | None]) -> None:
    """Equal facets are one cell."""
    turned = dict(reversed(values.items()))

    assert encode_facets(turned) == encode_facets(values)


@given(VALUES)
def test_a_value_in_facets_is_the_value_alone(value: str | int | bool | None) -> None:
    """SQL puts facets together from single values."""
    assert encode_facets({"a": value}) == f'{{"a":{encode_value(value)}}}'
    assert json.loads(encode_value(value)) == value


def test_the_outside_has_no_facets() -> None:
    """Neither null nor the empty text."""
    assert decode_facets(None) == decode_facets("") == {}


def test_not_recorded_is_one_thing() -> None:
    """Before a facet was declared its value is unknown, never guessed."""
    assert pickle.loads(pickle.dumps(NOT_RECORDED)) is NOT_RECORDED
    assert (str(NOT_RECORDED), repr(NOT_RECORDED)) == ("not recorded", "NOT_RECORDED")

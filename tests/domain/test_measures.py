"""Levels and flows as sums of additive changes."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.measures.changes import FLOW_KINDS, Change, Place, Value
from stockflow.domain.measures.levels import in_order, levels
from stockflow.domain.measures.rates import flow_counts, rate

HOT = Place("crm.lead", "state", "hot")
WARM = Place("crm.lead", "state", "warm")
OUTSIDE = Place("crm.lead", "state", None)
BUCKETS = 4


def change(
    bucket: int, kind: str, source: str | None, target: str | None, count: int = 1
) -> Change:
    """Return a change of leads; a cell's facets are the state's first letter."""
    ends = [end and end[0] for end in (source, target)]
    return Change(bucket, "crm.lead", "state", kind, source, target, ends[0], ends[1], count)


states = st.sampled_from([None, "hot", "warm", "cold"])
changes = st.lists(
    st.builds(
        change,
        st.integers(0, BUCKETS),
        st.sampled_from(["entered", "moved", "left", "adopted", "reclassified"]),
        states,
        states,
        st.integers(1, 9),
    )
)


@given(changes)
def test_level_is_what_came_less_what_went(given_changes: list[Change]) -> None:
    """At each bucket's end the level is all that entered the stock less all that left it."""
    found = levels(given_changes, buckets=BUCKETS, stock={HOT, WARM})

    for end in range(BUCKETS + 1):
        so_far = [c for c in given_changes if c.bucket <= end]
        came = sum(c.number for c in so_far if c.target in ("hot", "warm"))
        went = sum(c.number for c in so_far if c.source in ("hot", "warm"))
        assert found[None][end] == came - went


@given(changes)
def test_split_levels_add_up(given_changes: list[Change]) -> None:
    """The facet values of a stock sum to the whole."""
    whole = levels(given_changes, buckets=BUCKETS, stock={HOT, WARM})[None]
    split = levels(given_changes, buckets=BUCKETS, stock={HOT, WARM}, value_of=str)

    assert [sum(level) for level in zip(*split.values(), strict=True)] in (whole, [])
    assert all(map(any, split.values()))


@given(changes)
def test_flow_counts_each_bucket(given_changes: list[Change]) -> None:
    """A flow counts the moves from its sources to its sinks, by kind and bucket."""
    found = flow_counts(
        given_changes, buckets=BUCKETS, sources={HOT, OUTSIDE}, sinks={HOT, WARM}, value_of=str
    )
    expected: Counter[tuple[str, int]] = Counter()
    for c in given_changes:
        if c.kind in FLOW_KINDS and c.source in ("hot", None) and c.target in ("hot", "warm"):
            expected[str(c.target_facets), c.bucket] += c.number

    for value, counts in found.items():
        assert counts == [expected[str(value), n] for n in range(1, BUCKETS + 1)]
    assert {value for value, bucket in expected if bucket} == set(found)


def test_who_leaves_is_counted_under_the_cell_left() -> None:
    """An event to the outside has the facet value of its source."""
    left = change(1, "left", "hot", None)

    assert flow_counts([left], buckets=1, sources={HOT}, sinks={OUTSIDE}, value_of=str) == {
        "h": [1]
    }


def test_other_fields_and_models_do_not_count() -> None:
    """A place is a state of one field of one model."""
    other = change(1, "entered", None, "hot")._replace(model="crm.account")

    assert levels([other], buckets=1, stock={HOT}) == {None: [0, 0]}


@pytest.mark.parametrize(
    ("values", "ordered"),
    [
        pytest.param(["b", None, "a"], ["a", "b", None], id="texts"),
        pytest.param([10, NOT_RECORDED, 9], [9, 10, NOT_RECORDED], id="numbers"),
        pytest.param([True, False], [False, True], id="truths"),
        pytest.param([UUID(int=2), UUID(int=1)], [UUID(int=1), UUID(int=2)], id="uuids"),
        pytest.param(
            [date(2026, 2, 1), date(2026, 1, 1)], [date(2026, 1, 1), date(2026, 2, 1)], id="dates"
        ),
        pytest.param(["x", 1], [1, "x"], id="mixed"),
        pytest.param([None, NOT_RECORDED], [None, NOT_RECORDED], id="both-unknown"),
    ],
)
def test_facet_values_have_an_order(values: list[Value], ordered: list[Value]) -> None:
    """Values are in natural order, what is unknown last."""
    assert in_order(values) == ordered


def test_rate_divides_by_elapsed_time() -> None:
    """Six events in a day and a half are four a day."""
    start = datetime(2026, 1, 1, tzinfo=UTC)

    assert rate(6, start, start + timedelta(hours=36), per="day", tz=UTC) == 4.0

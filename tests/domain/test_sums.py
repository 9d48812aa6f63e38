"""Sums: conservation, parts that make the whole, and stays that are put together."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.measures.changes import Change, Place
from stockflow.domain.measures.lifecycles import growth, retention
from stockflow.domain.measures.peaks import Extremes, Run, within
from stockflow.domain.measures.spells import Spell, merged
from stockflow.domain.measures.sums import Sums, sums

BUCKETS = 4
LENGTH = 100
STOCK = {Place("crm.lead", "state", state) for state in ("hot", "warm")}
KINDS = ["entered", "moved", "left", "adopted", "reconciled", "reclassified"]
ends = st.sampled_from([None, "hot", "warm", "cold"])
facets = st.sampled_from(["a", "b"])
changes = st.lists(
    st.builds(
        lambda bucket, kind, source, target, before, after, at: Change(
            *(bucket, "crm.lead", "state", kind, source, target, before, after),
            *(1, at if bucket else 0),
        ),
        st.integers(0, BUCKETS),
        st.sampled_from(KINDS),
        ends,
        ends,
        facets,
        facets,
        st.integers(0, LENGTH),
    )
)


@given(changes)
def test_sums_conserve(given_changes: list[Change]) -> None:
    """What opened, came, went and was reclassified is what closes, and opens the next bucket."""
    for value_of in (str, lambda facets: None):
        found = sums(given_changes, lengths=[LENGTH] * BUCKETS, stock=STOCK, value_of=value_of)
        for own in found.values():
            closing = own[0].opening
            for one in own:
                assert one.opening == closing
                closing = one.opening + one.inflow - one.outflow + one.reclassified
                assert one.closing == closing


@given(changes)
def test_facet_values_make_the_whole(given_changes: list[Change]) -> None:
    """Each sum of the whole is that of its facet values together."""
    lengths = [LENGTH] * BUCKETS
    (whole,) = sums(given_changes, lengths=lengths, stock=STOCK).values()
    split = sums(given_changes, lengths=lengths, stock=STOCK, value_of=str)
    for n, one in enumerate(whole):
        parts = [own[n] for own in split.values()]

        assert reduce(Sums.beside, parts, Sums(elapsed=LENGTH)) == one


@given(changes)
def test_buckets_make_the_range(given_changes: list[Change]) -> None:
    """One bucket of the whole range has the sums of its parts."""
    (parts,) = sums(given_changes, lengths=[LENGTH] * BUCKETS, stock=STOCK).values()
    moved = [
        change._replace(bucket=1, offset=change.offset + (change.bucket - 1) * LENGTH)
        if change.bucket
        else change
        for change in given_changes
    ]
    ((whole,),) = sums(moved, lengths=[LENGTH * BUCKETS], stock=STOCK).values()

    assert reduce(Sums.then, parts) == whole


def test_value_that_only_passed_has_its_exposure() -> None:
    """Who came and went within one bucket is there in none of its ends, and was exposed."""
    came = Change(1, "crm.lead", "state", "entered", None, "hot", None, "a", 1, 10)
    went = Change(1, "crm.lead", "state", "reclassified", "hot", "hot", "a", "b", 1, 40)
    found = sums([came, went], lengths=[LENGTH], stock=STOCK, value_of=str)

    assert (found["a"][0].exposure, found["b"][0].exposure) == (30, 60)
    assert (found["a"][0].inflow, found["a"][0].reclassified) == (1, -1)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(Run(1, 2, 3, 2, 0), Extremes(3, 2), id="at-the-very-start"),
        pytest.param(Run(1, 2, 3, 2, 5), Extremes(3, 1), id="after-it"),
    ],
)
def test_opening_level_counts_if_it_held(run: Run, expected: Extremes) -> None:
    """What held just before the bucket is a level of it only while nothing happened."""
    assert within([Run(0, 1, 1, 1, -9), run], [0, 10]) == [expected]


def test_stays_in_states_make_stays_in_a_stock() -> None:
    """Adjoining ones are one; one that comes back later is another."""
    own = [
        Spell("a", "hot", 0, 2, "warm", is_truncated=True, version=1),
        Spell("a", "warm", 2, 3, "cold", version=2),
        Spell("a", "cold", 3, 4, "hot", version=3),
        Spell("a", "hot", 4, 4, "hot", version=4),
        Spell("a", "hot", 4, None, is_censored=True, version=5),
    ]

    assert merged(own, {"hot", "warm"}) == [
        Spell("a", "hot", 0, 3, "cold", is_truncated=True, version=1),
        Spell("a", "hot", 4, None, is_censored=True, version=4),
    ]
    assert len(merged(own, {"cold"})) == 1


def test_back_within_the_bucket_is_retained() -> None:
    """Only both ends count; the flows show the way between."""
    own = [Spell("a", "hot", 0, 5, "cold"), Spell("a", "hot", 7, None)]

    (back,), (again,), (gone,) = (growth([own], bounds) for bounds in ([3, 9], [6, 9], [3, 6]))

    assert (back.retained, again.resurrected, gone.dormant) == (1, 1, 1)
    assert (back.quick_ratio, gone.quick_ratio) == (None, 0.0)
    assert (back.opening, back.closing) == (1, 1)


def test_adopted_objects_are_of_no_cohort() -> None:
    """Nobody knows when they came first."""
    lives = [[Spell("a", "hot", 1, None)], [Spell("b", "hot", 1, None, is_truncated=True)]]

    assert retention(lives, [0, 5, 9], observed_until=8) == [(1, (1, None)), (0, (None,))]

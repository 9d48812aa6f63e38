"""Survival and exits: brute force, identities, and textbook cases."""

from math import isclose, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.measures.spells import Spell
from stockflow.domain.measures.survival import Curve, Stretch, curve, stretches

observed = st.lists(
    st.builds(
        lambda begin, length, to, is_exit: Stretch(begin, begin + length, to, is_exit),
        st.integers(0, 8),
        st.integers(0, 12),
        st.sampled_from(["won", "lost", None]),
        st.booleans(),
    ),
    max_size=25,
)


def at_risk(known: list[Stretch], age: int) -> int:
    """Count who was under observation at an age."""
    return sum(one.begin <= age <= one.end for one in known)


def leavers(known: list[Stretch], age: int) -> list[Stretch]:
    """Return who left at an age."""
    return [one for one in known if one.is_exit and one.end == age]


@given(observed)
def test_survival_is_the_product_limit(known: list[Stretch]) -> None:
    """At each age the share of those at risk who did not leave is taken of the rest."""
    for point in curve(known).points:
        ages = sorted({one.end for one in known if one.is_exit and one.end <= point.age})
        shares = [1 - len(leavers(known, age)) / at_risk(known, age) for age in ages]

        assert point.survival == pytest.approx(prod(shares))


@given(observed)
def test_who_stays_and_who_left_are_all(known: list[Stretch]) -> None:
    """Survival and the exits sum to 1 at each age, and no exit's share falls."""
    before: dict[str | None, float] = {}
    for point in curve(known).points:
        assert isclose(point.survival + sum(point.exits.values()), 1, abs_tol=1e-12)
        assert all(point.exits[state] >= share for state, share in before.items())
        before = point.exits


@given(observed)
def test_exits_are_those_of_who_left(known: list[Stretch]) -> None:
    """Each exit's share grows by the survivors' share of those at risk who took it."""
    found = curve(known)
    survival, shares = 1.0, dict.fromkeys(["won", "lost", None], 0.0)
    for point in found.points:
        for one in leavers(known, point.age):
            shares[one.exit_to] += survival / at_risk(known, point.age)
        survival = point.survival

        assert point.exits == pytest.approx({k: v for k, v in shares.items() if k in point.exits})
    assert found.longest == max((one.end for one in known), default=0)


@given(observed, st.integers(0, 20))
def test_restricted_mean_is_the_area(known: list[Stretch], until: int) -> None:
    """Age by age, the share that stays longer is added up."""
    found = curve(known)
    area = found.restricted_mean(until)
    if area is not None:
        assert area == pytest.approx(sum(found.at(age).survival for age in range(until)))
    else:
        assert until > found.longest


def test_median() -> None:
    """It is the first age at which half or fewer remain, unknown where more do."""
    known = [Stretch(0, age, "won", True) for age in (1, 2, 3)]

    assert curve([*known, Stretch(0, 9, None, False)]).median() == 2
    assert curve([known[0], *[Stretch(0, 9, None, False)] * 3]).median() is None
    assert curve([]) == Curve([], 0, 0, 0)


def test_without_censoring_it_is_the_empirical_share() -> None:
    """Of ten who left one by one, three remain after the seventh."""
    found = curve(Stretch(0, age, "won", True) for age in range(1, 11))

    assert found.at(7).survival == pytest.approx(0.3)
    assert found.at(0).survival == 1.0
    assert found.restricted_mean(10) == pytest.approx(5.5)
    assert found.restricted_mean(99) == pytest.approx(5.5)


def test_late_entry() -> None:
    """A window sees of a stay what lies inside it, from the age that it had by then."""
    stays = [
        Spell("before", "hot", 0, 9, "won"),
        Spell("at the start", "hot", 0, 10, "won"),
        Spell("through", "hot", 4, 30, "won"),
        Spell("still there", "hot", 15, None, is_censored=True),
        Spell("adopted", "hot", 12, 18, "won", is_truncated=True),
        Spell("renamed away", "hot", 12, 18, "warm", is_censored=True),
        Spell("later", "hot", 20, None, is_censored=True),
    ]
    found, truncated = stretches(stays, 10, 20)

    assert truncated == 1
    assert found == [
        Stretch(10, 10, "won", True),
        Stretch(6, 16, "won", False),
        Stretch(0, 5, None, False),
        Stretch(0, 6, "warm", False),
    ]

"""The names of objects' histories."""

from uuid import UUID

import pytest

from stockflow.lifecycles import new_lifecycle
from tests.crm.models import Lead


def test_each_is_another() -> None:
    """Not even two of one instant are the same, and each says of which kind it is."""
    made = [new_lifecycle() for _ in range(1000)]

    assert len({*made}) == 1000
    assert {(one.version, one.variant) for one in made} == {(7, UUID(int=0x8 << 60).variant)}


def test_they_follow_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made later stands later, to a fraction of a millisecond."""
    instants = [1_700_000_000_000_000_000 + n for n in (0, 300, 999_700, 1_000_000, 10**9)]
    made = []
    for instant in instants:
        monkeypatch.setattr("stockflow.lifecycles.time.time_ns", lambda instant=instant: instant)
        made.append(new_lifecycle())

    assert made == sorted(made)
    assert [one.int >> 80 for one in made] == [instant // 1_000_000 for instant in instants]


@pytest.mark.django_db
def test_new_objects_have_one() -> None:
    """Created one by one or many at once."""
    one = Lead.objects.create()
    (other,) = Lead.objects.bulk_create([Lead()])

    assert one.stock_lifecycle is not None
    assert other.stock_lifecycle is not None
    assert one.stock_lifecycle.version == other.stock_lifecycle.version == 7
    assert one.stock_lifecycle < other.stock_lifecycle

"""What is added up within a bucket is exact: exposure is made of it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given

from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import buckets
from stockflow.models import Event
from stockflow.projections import query
from stockflow.testing import clock
from tests.crm.models import Lead
from tests.projections import histories
from tests.projections.histories import NOW, START, event, logged, quick

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _now() -> Any:
    with clock(NOW):
        yield


def asked(bounds: list[int]) -> list[Any]:
    """Return the changes of leads."""
    return query.changes([Lead.temperature], bounds, using="default", now=NOW).changes


@quick
@given(events=histories.histories)
def test_offset_is_brute_force(events: list[Event]) -> None:
    """It adds up how long after its bucket's start each event was; the opening has none."""
    cut = buckets(START + timedelta(days=1), START + timedelta(days=9), "day", UTC)
    bounds = [to_micros(cut[0].start), *(to_micros(bucket.end) for bucket in cut)]
    own = [e for e in events if e.model in histories.FAMILY]
    with logged(events):
        found = asked(bounds)

    assert all(change.offset == 0 for change in found if change.bucket == 0)
    for n, (start, end) in enumerate(pairwise(bounds), start=1):
        inside = [histories.micros(e) for e in own if start <= histories.micros(e) < end]
        assert sum(c.offset for c in found if c.bucket == n) == sum(inside) - len(inside) * start
        assert sum(c.number for c in found if c.bucket == n) == len(inside)


def test_offset_does_not_overflow() -> None:
    """Forty events of ten thousand years are more microseconds than 64 bits hold."""
    first = to_micros(datetime(1, 1, 2, tzinfo=UTC))
    at = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    rows = [event(uuid4(), 1, at, kind="entered", source=None, target="hot") for _ in range(40)]
    with logged(rows):
        (change,) = asked([first, query.END])

    assert change.offset == 40 * (to_micros(at) - first) > 2**63

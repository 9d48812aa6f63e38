"""Whatever is done to the objects, in any order and folded at any time, the laws of flow hold."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.models import Event
from stockflow.projections import Stock, registry, runner
from stockflow.testing import sequence
from stockflow.verification import verify
from tests.crm.models import BigLead, Lead
from tests.projections.brute import Brute, by_channel, whole
from tests.stockflow.conftest import START
from tests.stockflow.test_any_order import TICK, AnyOrder

STATES = ["hot", "warm"]


class Laws(AnyOrder):
    """The careless histories, with what is done to many objects, and folded and rebuilt between."""

    @initialize()
    def declare(self) -> None:
        registry.declared.stocks.pop("open", None)
        self.stock = Stock("open", Lead.temperature, states=STATES)

    @rule(batch=st.integers(1, 7))
    def fold(self, batch: int) -> None:
        sequence()
        list(runner.project(batch_size=batch))
        assert [wrong for step in verify() for wrong in step.wrong] == []

    @rule()
    def rebuild(self) -> None:
        sequence()
        list(runner.rebuild(batch_size=5))

    @rule(channels=st.lists(st.sampled_from(["web", "fair"]), min_size=1, max_size=3))
    def create_many(self, channels: list[str]) -> None:
        self.time.advance(TICK)
        leads = Lead.objects.bulk_create(Lead(channel=channel) for channel in channels)
        self.lifecycles.update(lead.stock_lifecycle for lead in leads)

    @rule(
        model=st.sampled_from([Lead, BigLead]),
        name=st.sampled_from(["cool", "rekindle"]),
        days=st.integers(0, 9),
    )
    def move_many(self, model: Any, name: str, days: int) -> None:
        self.time.advance(timedelta(days=days) + TICK)
        with suppress(ConcurrentTransition), transaction.atomic():
            model.objects.transition(name)

    @rule(number=st.integers(0, 1))
    def delete_many(self, number: int) -> None:
        self.time.advance(TICK)
        with suppress(DatabaseError), transaction.atomic():
            BigLead.objects.filter(owner=self.reps[number]).delete()

    @invariant()
    def the_laws_hold(self) -> None:
        events = list(Event._default_manager.filter(field="temperature").order_by("version"))
        split = self._hold(events, by="channel")
        plain = self._hold(events, by=None)
        # The sums over the facet's values are the whole.
        for start, row in plain.items():
            parts = [own for key, own in split.items() if key[0] == start[0]]
            assert [sum(part) for part in zip(*parts, strict=True)][:4] == (
                row[:4] if parts else []
            )
        self._members_are_counted()

    def _hold(self, events: list[Event], *, by: str | None) -> dict[Any, list[int]]:
        """Return opening, inflow, outflow and closing by bucket and facet, which obey the laws."""
        now = self.time.at
        asked: Any = {"start": START, "end": now + timedelta(days=1), "every": "week", "by": by}
        names = ["opening", "inflow", "outflow", "closing", "reclassified"]
        found = [getattr(self.stock, name)(**asked) for name in names]
        rows: dict[Any, list[int]] = {}
        for across in zip(*found, strict=True):
            start, end, value = across[0].start, across[0].end, str(across[0].facet)
            numbers = rows[start, value] = [one.value for one in across]
            first, last = to_micros(start), min(to_micros(end), to_micros(now) + 1)
            brute = Brute(events, set(STATES), by_channel if by else whole, value if by else None)
            opening, inflow, outflow, closing, reclassified = numbers
            assert (opening, closing) == (brute.level(first), brute.level(last))
            assert inflow == brute.crossing(first, last, inward=True)
            assert outflow == brute.crossing(first, last, inward=False)
            assert opening + inflow - outflow + reclassified == closing
            assert min(numbers[:4]) >= 0
        self._sums_are_those_of_the_range(rows, asked)
        return rows

    def _sums_are_those_of_the_range(self, rows: dict[Any, list[int]], asked: Any) -> None:
        once = asked | {"every": asked["end"] - asked["start"]}
        for n, name in ((1, "inflow"), (2, "outflow")):
            for whole_range in getattr(self.stock, name)(**once):
                value = str(whole_range.facet)
                parts = [own[n] for key, own in rows.items() if key[1] == value]
                assert sum(parts) == whole_range.value

    def _members_are_counted(self) -> None:
        level = self.stock.count()
        stays = self.stock.stays(merged=False)
        assert level == len(self.stock.members()) == sum(stay.left is None for stay in stays)
        assert level == Lead.objects.filter(temperature__in=STATES).count()


@pytest.mark.django_db
class TestLaws(Laws.TestCase):  # type: ignore[misc, valid-type]
    """Some careless histories, each looked at after each step."""

    settings = settings(
        max_examples=8,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

"""A year of leads that never were, always the same for one seed."""

from collections.abc import Generator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from django.db import transaction
from django_fsm import TransitionNotAllowed

import stockflow
from example.crm.models import Lead, Rep

START: Final = datetime(2025, 9, 22, tzinfo=UTC)
END: Final = datetime(2026, 9, 22, tzinfo=UTC)
"""All that people do lies between; what decays later is left to the schedule."""

TEAMS: Final = {"Ada": "north", "Bert": "north", "Chen": "south", "Dina": "south", "Emil": "west"}
CHANNELS: Final = {"web": 5, "fair": 2, "phone": 3}
"""The channels, and how often a lead comes by each."""

REASONS: Final = ("called back", "asked for a quote", "met at a fair", "opened the newsletter")


@dataclass
class Simulation:
    """What happens to leads, drawn from a seeded source of chance.

    Attributes:
        chance: Where it is drawn from.
        owners: Who owns the leads.
    """

    chance: Random
    owners: list[Rep] = field(default_factory=list)

    def live(self) -> None:
        """Let one lead come, be talked to, and be won, lost from sight or removed."""
        at = START + (END - START) * self.chance.random()
        lead = Lead(
            channel=self.chance.choices(list(CHANNELS), list(CHANNELS.values()))[0],
            owner=self.chance.choice(self.owners),
        )
        with self._telling(at, lead, "first contact"):
            lead.save()
        while (at := at + self._pause()) < END:
            if self._is_over(lead, at):
                return

    def _is_over(self, lead: Lead, at: datetime) -> bool:
        """Let something happen to *lead* at *at*, and return whether it was the last thing."""
        lot = self.chance.random()
        if lot < 0.06:
            with self._telling(at, lead, "asked to be forgotten"):
                lead.delete()
            return True
        if lot < 0.4:
            with self._telling(at, lead, "signed"):
                return self._is_won(lead, Decimal(self.chance.randrange(200, 9000, 50)))
        with self._telling(at, lead, self.chance.choice(REASONS)), suppress(TransitionNotAllowed):
            lead.rekindle()
            lead.save()
        return False

    def _is_won(self, lead: Lead, amount: Decimal) -> bool:
        try:
            lead.win(amount)
        except TransitionNotAllowed:  # it cooled for too long
            return False
        lead.save()
        return True

    def _pause(self) -> timedelta:
        return timedelta(minutes=self.chance.expovariate(1 / (14 * 24 * 60)))

    def _telling(self, at: datetime, lead: Lead, reason: str) -> AbstractContextManager[None]:
        return stockflow.context(at=at, actor=lead.owner.name, reason=reason)


def simulate(leads: int, seed: int) -> Generator[None, None, None]:
    """Let *leads* come and go, one after the other, and yield after each.

    All of it is one transaction: it is there whole, or not at all.
    """
    simulation = Simulation(Random(seed))  # noqa: S311  chance, not secrecy
    with transaction.atomic():
        for name, team in TEAMS.items():
            simulation.owners.append(Rep.objects.create(name=name, team=team))
        for _ in range(leads):
            simulation.live()
            yield

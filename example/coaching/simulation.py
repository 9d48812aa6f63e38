"""Half a year of people who are coached, always the same for one seed."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from django.db import transaction
from django_fsm import TransitionNotAllowed

import stockflow
from example.coaching.models import Coach, Login, Profile

START: Final = datetime(2026, 3, 23, tzinfo=UTC)
END: Final = datetime(2026, 9, 22, tzinfo=UTC)
"""All that people do lies between; what decays later is left to the schedule."""

COACHES: Final = ("Frida", "Gustav", "Hanna")
NAMES: Final = (
    "Ida",
    "Jon",
    "Kaja",
    "Leo",
    "Mia",
    "Nils",
    "Oda",
    "Per",
    "Runa",
    "Siv",
    "Tor",
    "Una",
)


@dataclass
class Simulation:
    """What happens to profiles, drawn from a seeded source of chance.

    Attributes:
        chance: Where it is drawn from.
        coaches: Who coaches.
    """

    chance: Random
    coaches: list[Coach] = field(default_factory=list)

    def live(self, number: int) -> None:
        """Let one come, log in for as long as they like, slip, and be called."""
        at = START + (END - START) * 0.7 * self.chance.random()
        profile = Profile(
            name=f"{NAMES[number % len(NAMES)]} {number + 1}",
            coach=self.chance.choice(self.coaches),
            ramp=self.chance.choice(list(Profile.RAMPS)),
            source=self.chance.choice(list(Profile.SOURCES)),
        )
        with stockflow.context(at=at, actor=profile.name, reason="signed up"):
            profile.save()
        zeal = self.chance.choice((3, 6, 14))  # days between two logins
        while (at := at + timedelta(days=self.chance.expovariate(1 / zeal))) < END:
            self._act(profile, at)

    def _act(self, profile: Profile, at: datetime) -> None:
        lot = self.chance.random()
        if lot < 0.12:
            with stockflow.context(at=at, actor=profile.coach.name, reason="by telephone"):
                self._call(profile)
        elif lot < 0.16 and profile.pay_state == "trial":
            with stockflow.context(at=at, actor=profile.name, reason="paid"):
                profile.pay_state = "paying"
                profile.save()
        else:
            with stockflow.context(at=at, actor=profile.name), suppress(TransitionNotAllowed):
                profile.log_in()
                profile.save()
                Login.objects.create(profile=profile)

    def _call(self, profile: Profile) -> None:
        with suppress(TransitionNotAllowed):  # nobody calls who is steady
            profile.call()
            profile.save()


def simulate(people: int, seed: int) -> Generator[None, None, None]:
    """Let *people* come and be coached, one after the other, and yield after each.

    All of it is one transaction: it is there whole, or not at all.
    """
    simulation = Simulation(Random(seed))  # noqa: S311  chance, not secrecy
    with transaction.atomic():
        simulation.coaches = [Coach.objects.create(name=name) for name in COACHES]
        for number in range(people):
            simulation.live(number)
            yield

"""``manage.py simulate_coaching``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from tqdm import tqdm

from example.coaching import simulation
from example.coaching.models import Coach


class Command(BaseCommand):
    """Simulates people who are coached; repeated, it does nothing, interrupted it begins anew."""

    help = "Simulate half a year of coaching, always the same for one seed, but not what decays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--people", type=int, default=40, help="How many (default 40).")
        parser.add_argument(
            "--seed", type=int, default=3, help="What chance depends on (default 3)."
        )

    def handle(self, *args: Any, people: int, seed: int, verbosity: int, **options: Any) -> None:
        wanted = 0 if Coach.objects.exists() else people
        quiet = None if verbosity else True
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=wanted, desc="People", unit=" people", disable=quiet) as bar:
            for _ in simulation.simulate(wanted, seed) if wanted else ():
                bar.update()
        if verbosity:
            self.stdout.write(f"Simulated {wanted:,} people who are coached.")

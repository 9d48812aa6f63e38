"""``manage.py simulate_leads``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from tqdm import tqdm

from example.crm import simulation
from example.crm.models import Rep


class Command(BaseCommand):
    """Simulates leads; repeated, it does nothing, interrupted it begins anew."""

    help = "Simulate a year of leads, always the same for one seed, but not what decays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--leads", type=int, default=400, help="How many (default 400).")
        parser.add_argument(
            "--seed", type=int, default=2, help="What chance depends on (default 2)."
        )

    def handle(self, *args: Any, leads: int, seed: int, verbosity: int, **options: Any) -> None:
        wanted = 0 if Rep.objects.exists() else leads
        quiet = None if verbosity else True
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=wanted, desc="Leads", unit=" leads", disable=quiet) as bar:
            for _ in simulation.simulate(wanted, seed) if wanted else ():
                bar.update()
        if verbosity:
            self.stdout.write(f"Simulated {wanted:,} leads.")

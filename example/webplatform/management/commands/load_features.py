"""``manage.py load_features``."""

from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from example.webplatform import loading


class Command(BaseCommand):
    """Loads the real data; repeated, it does nothing, interrupted it goes on."""

    help = "Load the features of the web platform, but not what decays: that is the schedule's."

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        histories, quiet = loading.missing(), None if verbosity else True
        total = sum(map(len, histories))
        # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
        with tqdm(total=total, desc="Features", unit=" events", disable=quiet) as bar:
            for events in loading.load(histories):
                bar.update(events)
        if verbosity:
            self.stdout.write(f"Loaded {len(histories):,} features with {total:,} events.")

"""Loading the features: what is known of each, through the public interface."""

import csv
import gzip
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from django.db import transaction

import stockflow
from example.webplatform.models import Feature

DATA: Final = Path(__file__).parent / "data" / "events.csv.gz"
CHUNK: Final = 500
"""Features per transaction."""


@dataclass(frozen=True)
class History:
    """What the data say of one feature.

    Attributes:
        feature: The feature, not saved.
        limited_at: When the first browser had it.
        newly_at: When the last browser had it, if all have.
    """

    feature: Feature
    limited_at: datetime
    newly_at: datetime | None

    def __len__(self) -> int:
        """How many events it takes to load it."""
        return 1 if self.newly_at is None else 2

    def load(self) -> None:
        """Save the feature as it came to be; what decays later is left to the schedule."""
        with stockflow.context(at=self.limited_at):
            self.feature.save()
        if self.newly_at is not None:
            with stockflow.context(at=self.newly_at):
                self.feature.reach_all()
                self.feature.save()


def read() -> list[History]:
    """Return what the data say of each feature, without the ``widely`` events."""
    with gzip.open(DATA, "rt", encoding="utf-8", newline="") as file:
        return list(_histories(csv.DictReader(file)))


def missing() -> list[History]:
    """Return what is not loaded yet: an interrupted load goes on where it stopped."""
    known = set(Feature.objects.values_list("key", flat=True))
    return [history for history in read() if history.feature.key not in known]


def load(histories: Sequence[History]) -> Generator[int, None, None]:
    """Load *histories*, and yield how many events each chunk has; a chunk is one transaction."""
    for first in range(0, len(histories), CHUNK):
        chunk = histories[first : first + CHUNK]
        with transaction.atomic(), stockflow.context(actor="import", reason="web-features 3.40.0"):
            for history in chunk:
                history.load()
        yield sum(map(len, chunk))


def _histories(rows: Iterable[dict[str, str]]) -> Iterator[History]:
    for key, events in groupby(rows, key=lambda row: row["case_id"]):
        first, *_ = known = list(events)
        at = {row["state"]: datetime.fromisoformat(row["timestamp"]) for row in known}
        feature = Feature(key=key, name=first["feature"], group=first["group"], area=first["area"])
        yield History(feature, at["limited"], at.get("newly"))

"""The periodic jobs of stockflow itself."""

from django.db import connections

from stockflow.eventstore.sequencer import sequence
from stockflow.scheduling import periodic


@periodic("minutely", name="stockflow.sequence")
def sequence_log(using: str) -> str:
    """Give each committed event its position."""
    if connections[using].in_atomic_block:
        return "nothing: positions are given outside transactions"
    return f"{sequence(using):,} events"

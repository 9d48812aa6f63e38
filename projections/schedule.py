"""The periodic job of the read side."""

from datetime import timedelta

from django.db import connections

from stockflow.projections import calling, runner
from stockflow.scheduling import periodic

AT_MOST = timedelta(minutes=10)
"""A killed run is repeated after so long. One that only takes longer is no harm beside another:
no event is folded twice."""


@periodic("minutely", name="stockflow.project", at_most=AT_MOST)
def project(using: str) -> str:
    """Fold what is new in the log into the read tables."""
    if connections[using].in_atomic_block:
        return "nothing: it folds outside transactions"
    folded = runner.fold_all(using)
    return ", ".join(f"{name}: {positions:,} positions" for name, positions in folded.items())


@periodic("minutely", name="stockflow.call", at_most=AT_MOST)
def call(using: str) -> str:
    """Call event callables with what happened, and with what failed and is to be tried again."""
    if connections[using].in_atomic_block:
        return "nothing: it is called after the commit"
    made = calling.run_event_callables(using)
    return f"{len(made):,} calls, {sum(bool(one.error) for one in made):,} failed"

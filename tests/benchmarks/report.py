"""The table of medians and ratios, and the targets that they must meet."""

from collections.abc import Iterator, Mapping

FLOOR = "plain INSERT + UPDATE"
BARE = "django-fsm-2, bare"
OURS = "stockflow"
FACETS = "stockflow, 3 facets"
STARTS = "stockflow, timer starts"
ENDS = "stockflow, timer ends"
LOGGED = "django-fsm-log"
HISTORIC = "django-simple-history"

MOST = 2.0
"""Ours may cost this many bare saves."""

MOST_FOR_TIMER = 0.3
"""Starting or ending a timer may cost this many bare saves more."""

NOISE = 1.0
"""How far off a small run on a busy machine may be, as a part of each bound.

It catches what is grossly slower; whether the targets are met, a whole run tells.
"""

Medians = Mapping[str, float]


def table(title: str, medians: Medians) -> Iterator[str]:
    """Yield the lines of one mode's table."""
    yield f"| {title} | µs | × bare |"
    yield "|---|---:|---:|"
    for name, micros in medians.items():
        yield f"| {name} | {micros:,.0f} | {micros / medians[BARE]:.2f} |"


def missed(where: str, medians: Medians, noise: float = 0.0) -> Iterator[str]:
    """Yield one sentence for each target that is not met, every bound widened by *noise*."""
    slack, bare = 1 + noise, medians[BARE]
    for name in (OURS, FACETS):
        if medians[name] > MOST * slack * bare:
            yield _sentence(where, name, medians[name] / bare, MOST * slack)
    for name in (STARTS, ENDS):
        more = (medians[name] - medians[OURS]) / bare
        if more > MOST_FOR_TIMER + noise:
            yield _sentence(where, f"{name}: more than without", more, MOST_FOR_TIMER + noise)
    for name in (OURS, FACETS, STARTS, ENDS):
        if medians[name] >= medians[LOGGED] * slack:
            yield _sentence(where, name, medians[name] / bare, medians[LOGGED] / bare * slack)


def _sentence(where: str, name: str, found: float, bound: float) -> str:
    return f"missed: {where}: {name} costs {found:.2f} bare saves, the bound is {bound:.2f}."

"""What a page shows of a process, worked out once: levels, flows and roll-forwards."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from django.forms import Media

from stockflow import conf
from stockflow.domain.intervals import Grain
from stockflow.projections.facets import By, Facet, lookup_of
from stockflow.projections.sections import Cut, Section, roll_forward_section, sections

if TYPE_CHECKING:
    from stockflow.projections.processes import Process

__all__ = ["ProcessReport"]

STYLE = "stockflow/pages.css"


@dataclass(frozen=True)
class ProcessReport:
    """A process over a range of time: all that a page needs, ready to be shown.

    Attributes:
        process: The process.
        start: The first instant.
        end: The first instant after it.
        every: How the range is cut.
        facet: What splits it, if anything.
        zone: The zone in which days are cut.
        sections: Levels and flows: each a picture and the table of the same numbers.
        roll_forwards: For each stock, by period: opening, what each flow brought and took,
            closing; by facet value where it is split.
        settled_until: Up to when the numbers hold: the oldest overdue decay, else now.
        is_settled: Whether nothing is overdue.
    """

    process: "Process"
    start: datetime
    end: datetime
    every: Grain
    facet: Facet | None
    zone: tzinfo
    sections: tuple[Section, ...]
    roll_forwards: tuple[Section, ...]
    settled_until: datetime
    is_settled: bool

    @property
    def media(self) -> Media:
        """The style sheet that it needs."""
        return Media(css={"all": [STYLE]})


def report(
    process: "Process",
    start: datetime,
    end: datetime,
    *,
    every: Grain,
    by: By | None = None,
    tz: tzinfo | None = None,
) -> ProcessReport:
    """Return what a page shows of *process*; arguments are those of :meth:`Process.report`."""
    now = conf.now(process.stocks[0].using)
    zone = conf.time_zone() if tz is None else tz
    cut = Cut(every, zone, _facet(process, by), now)
    bounds: dict[str, Any] = {"every": every, "by": by, "tz": zone}
    levels = process.series(start, end, **bounds)
    flows = [(flow.name, flow.series(start, end, **bounds)) for flow in process.flows]
    tables = process.roll_forward(start, end, **bounds)
    slugs = {flow.slug: flow.name for flow in process.flows}
    named = [(stock.name, levels[stock.slug]) for stock in process.stocks]
    settled_until = min(series.settled_until for _, series in (*named, *flows))
    return ProcessReport(
        process,
        start,
        end,
        every,
        cut.facet,
        zone,
        (
            *sections("Levels", named, cut, f"Objects at the end of each {every}."),
            *(sections("Flows", flows, cut, f"Moves in each {every}.") if flows else ()),
        ),
        tuple(
            roll_forward_section(stock, tables[stock.slug], slugs, cut) for stock in process.stocks
        ),
        settled_until,
        settled_until >= now,
    )


def _facet(process: "Process", by: By | None) -> Facet | None:
    """Return the process's facet for *by*; one that is not declared is named by its lookup."""
    if by is None or isinstance(by, Facet):
        return by
    lookup = lookup_of(process.stocks[0].reference, by)
    for facet in process.facets:
        if lookup == lookup_of(process.stocks[0].reference, facet):
            return facet
    return None

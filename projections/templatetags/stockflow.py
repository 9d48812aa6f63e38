"""``{% load stockflow %}``: processes, levels and walks in a project's own templates."""

from datetime import datetime
from typing import Any

from django import template
from django.template.context import Context

from stockflow import conf
from stockflow.domain.intervals import Grain, latest
from stockflow.errors import InvalidDeclaration
from stockflow.projections import registry
from stockflow.projections.permissions import may_view
from stockflow.projections.processes import Process
from stockflow.projections.reports import ProcessReport
from stockflow.projections.stocks import Stock

register = template.Library()


@register.simple_tag(takes_context=True)
def process_report(
    context: Context,
    process: Process | str,
    every: Grain = "week",
    last: int = 12,
    by: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ProcessReport | None:
    """Return the report of a process, for a template that shows its parts by itself.

    ``{% process_report "sales" every="month" last=6 as report %}``

    Args:
        context: Its ``request`` or ``user`` says who asks.
        process: The process or its slug.
        every: How to cut the range.
        last: How many periods to show, the running one included, where there is no *start*.
        by: The facet to split by.
        start: The first instant.
        end: The first instant after it; now where it is not given.

    Returns:
        None for who may not view the objects of every stock.
    """
    shown = _declared(process)
    if not may_view(_user(context, "process"), shown.stocks):
        return None
    now, zone = conf.now(shown.stocks[0].using), conf.time_zone()
    recent = latest(now, every, last, zone, first_weekday=conf.first_weekday())
    return shown.report(start or recent.start, end or recent.end, every=every, by=by or None)


@register.inclusion_tag("stockflow/_process.html", takes_context=True)
def process(context: Context, process: Process | str, **asked: Any) -> dict[str, Any]:
    """Show a process: its levels and flows as pictures and tables, and its roll-forwards.

    ``{% process "sales" every="month" by="channel" %}``; arguments are those of
    ``process_report``. Who may not view the objects sees nothing.
    """
    return {"report": process_report(context, process, **asked)}


@register.simple_tag(takes_context=True)
def stock_count(context: Context, stock: Stock | str, at: datetime | None = None) -> int | None:
    """Return a stock's level, now or at an instant; None for who may not view its objects.

    ``{% stock_count "hot" %}``
    """
    found = registry.declared.stocks.get(stock) if isinstance(stock, str) else stock
    if found is None:
        raise _unknown("stock", str(stock), list(registry.declared.stocks))
    return found.count(at) if may_view(_user(context, "stock_count"), [found]) else None


@register.inclusion_tag("stockflow/_walk.html", takes_context=True)
def walk(context: Context) -> dict[str, Any]:
    """Show how to go on to the other members: first, previous, next, last, a number."""
    return {"walk": context.get("walk")}


def _declared(process: Process | str) -> Process:
    if isinstance(process, Process):
        return process
    if process not in registry.declared.processes:
        raise _unknown("process", process, list(registry.declared.processes))
    return registry.declared.processes[process]


def _unknown(kind: str, slug: str, known: list[str]) -> InvalidDeclaration:
    names = ", ".join(map(repr, known)) or "none"
    return InvalidDeclaration(
        f"There is no {kind} {slug!r} (declared: {names}): name one of an app's stocks module."
    )


def _user(context: Context, tag: str) -> Any:
    user = context.get("user") or getattr(context.get("request"), "user", None)
    if user is None:
        raise InvalidDeclaration(
            f"{{% {tag} %}} shows numbers to who may view the objects, and does not know who asks: "
            "render the template with the request, or put a user into its context."
        )
    return user

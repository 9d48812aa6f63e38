"""The pages: an index, one for each process, and the members of each stock."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

from dateutil.relativedelta import relativedelta
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.decorators import staff_member_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from stockflow import conf
from stockflow.projections import registry
from stockflow.projections.answers import Member
from stockflow.projections.facets import Facet, facets_on
from stockflow.projections.forms import InstantForm, RangeForm
from stockflow.projections.member_rows import member_of, members_of
from stockflow.projections.permissions import may_view, require_view
from stockflow.projections.processes import Process
from stockflow.projections.reports import ProcessReport
from stockflow.projections.selections import label_of

P = ParamSpec("P")
D = TypeVar("D", bound=registry.Declaration)
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

MEMBERS_PER_PAGE = 50


def page(view: View[P]) -> View[P]:
    """Make *view* a page for staff, its instants in the zone in which days are cut."""

    @wraps(view)
    def shown(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        with timezone.override(conf.time_zone()):
            return view(request, *args, **kwargs)

    return require_safe(staff_member_required(shown))


@page
def index(request: HttpRequest) -> HttpResponse:
    """Show each process that the user may see, and its stocks' levels."""
    seen = [
        one for one in registry.declared.processes.values() if may_view(request.user, one.stocks)
    ]
    grouped = {stock.slug for one in registry.declared.processes.values() for stock in one.stocks}
    alone = [
        stock
        for stock in registry.declared.stocks.values()
        if stock.slug not in grouped and may_view(request.user, [stock])
    ]
    told = {
        "title": "Stocks and flows",
        "processes": [_levels_now(one) for one in seen],
        "stocks": [(stock, f"{stock.count():,}") for stock in alone],
    }
    return _render(request, "stockflow/index.html", told)


@page
def process(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the levels and flows of one process, as pictures and as tables."""
    shown = _find(registry.declared.processes, slug, "process")
    require_view(request.user, shown.stocks)
    now = conf.now(shown.stocks[0].using)
    form = RangeForm(shown, request.GET.dict(), now)
    told = {"title": shown.name, "process": shown, "form": form, "presets": _presets(now)}
    if not form.is_valid():
        return _render(request, "stockflow/process.html", told, status=400)
    told["report"] = _report(shown, form)
    return _render(request, "stockflow/process.html", told)


@page
def members(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the objects that are in one stock, or were at an instant."""
    stock = _find(registry.declared.stocks, slug, "stock")
    require_view(request.user, [stock])
    if stock.is_sampled:
        raise Http404(f"The stock {slug!r} is sampled: the log knows nothing of its members.")
    form = InstantForm(request.GET.dict(), conf.now(stock.using))
    told = {"title": stock.name, "stock": stock, "form": form}
    if not form.is_valid():
        return _render(request, "stockflow/members.html", told, status=400)
    found, settled_until = members_of(stock, form.cleaned_data["at"])
    named = facets_on(stock.reference)
    facets = {lookup: named.get(lookup) for lookup in stock.reference.facets}
    shown = Paginator(found, MEMBERS_PER_PAGE).get_page(request.GET.get("page"))
    told |= {
        "at": request.GET.get("at", ""),
        "count": f"{shown.paginator.count:,}",
        "settled_until": settled_until,
        "is_settled": settled_until >= form.now,
        "page": shown,
        "pages": shown.paginator.get_elided_page_range(shown.number),
        "elision": Paginator.ELLIPSIS,
        "members": [_row(request, facets, member) for member in map(member_of(stock), shown)],
        "facets": [_facet_name(lookup, facet) for lookup, facet in facets.items()],
    }
    return _render(request, "stockflow/members.html", told)


def _render(
    request: HttpRequest, template: str, told: dict[str, Any], status: int = 200
) -> HttpResponse:
    return render(request, template, {**admin.site.each_context(request), **told}, status=status)


def _find(declared: Mapping[str, D], slug: str, kind: str) -> D:
    if slug not in declared:
        raise Http404(f"There is no {kind} {slug!r}.")
    return declared[slug]


def _levels_now(shown: Process) -> dict[str, Any]:
    """Return the stocks with their levels, all from one statement, and how far they are settled."""
    now = conf.now(shown.stocks[0].using)
    moment = timedelta(microseconds=1)
    series = shown.series(now, now + moment, every=moment)
    settled_until = min(one.settled_until for one in series.values())
    return {
        "process": shown,
        "levels": [(stock, f"{series[stock.slug][0].value:,}") for stock in shown.stocks],
        "settled_until": settled_until,
        "is_settled": settled_until >= now,
    }


def _report(shown: Process, form: RangeForm) -> ProcessReport:
    asked = form.cleaned_data
    bounds: dict[str, Any] = {"every": asked["every"], "by": asked["by"] or None, "tz": form.zone}
    return shown.report(asked["start"], asked["end"], **bounds)


def _presets(now: datetime) -> list[tuple[str, str]]:
    """Return names and addresses of usual ranges."""
    today = now.astimezone(conf.time_zone()).date()
    usual: tuple[tuple[str, relativedelta, str], ...] = (
        ("30 days", relativedelta(days=30), "day"),
        ("A year", relativedelta(years=1), "week"),
        ("5 years", relativedelta(years=5), "month"),
        ("25 years", relativedelta(years=25), "quarter"),
    )
    return [
        (
            name,
            urlencode({"start": today - length, "end": today + timedelta(days=1), "every": every}),
        )
        for name, length, every in usual
    ]


def _row(
    request: HttpRequest, facets: Mapping[str, Facet | None], member: Member
) -> dict[str, Any]:
    name = f"{member.lifecycle} (deleted)" if member.object is None else str(member.object)
    labels = [
        # One that was not declared yet is missing.
        label_of(facet, member.facets[lookup]) if lookup in member.facets else ""
        for lookup, facet in facets.items()
    ]
    return {"member": member, "name": name, "address": _link(request, member), "facets": labels}


def _facet_name(lookup: str, facet: Facet | None) -> str:
    return lookup.replace("__", " ").replace("_", " ") if facet is None else facet.name


def _link(request: HttpRequest, member: Member) -> str:
    """Return the address of the member's history, or nothing where there is none to see."""
    if member.object is None:
        if not request.user.has_perm("stockflow.view_event"):
            return ""
        return f"{reverse('admin:stockflow_event_changelist')}?q={member.lifecycle}"
    meta = member.object._meta
    try:
        name = f"admin:{meta.app_label}_{meta.model_name}_stock_history"
        return reverse(name, args=[quote(member.object.pk)])
    except NoReverseMatch:  # its admin is no StockflowAdmin
        return ""

"""Views that walk through a stock: one leads from member to member, the other shows one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.contrib.auth.mixins import AccessMixin
from django.core.exceptions import BadRequest, ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import View

from stockflow.domain.errors import UnknownFacet, UnknownFacetValue
from stockflow.errors import InvalidSelection
from stockflow.projections.facets import Facet
from stockflow.projections.permissions import may_view
from stockflow.projections.processes import Process
from stockflow.projections.selections import FacetForm, StockSelection
from stockflow.projections.sequencers import STEPS, Place, StockSequencer
from stockflow.projections.stocks import Stock

__all__ = ["SequenceMixin", "StockSelectionMixin", "StockSequencerView"]

AT: Final = "at"
STEP: Final = "step"
"""The parameters that say where one is and where to go; all others are passed on."""


@dataclass(frozen=True)
class Walk:
    """What a page needs to lead on from the object that it shows.

    Attributes:
        selection: What is walked through.
        place: Where the object stands in it.
        first: The address of the first member, as are *previous*, *next* and *last*.
        address: Where a number given as ``step`` leads to that place.
        query: What is sent along.
        form: Chooses another part of the stock.
    """

    selection: StockSelection
    place: Place
    first: str
    previous: str
    next: str
    last: str
    address: str
    query: QueryDict
    form: FacetForm


class StockSelectionMixin(AccessMixin):
    """For a view whose query string selects a stock, open to who may view its objects.

    Who is not logged in is led to the login, who may not view them is refused. A query string
    that selects nothing that there is is answered by 400.

    Attributes:
        process: The process whose stocks and facets can be selected.
        stocks: They, where there is no process.
        facets: What its form offers to narrow a stock by, where there is no process.
        ordering: The columns by which members come one after another.
    """

    process: Process | None = None
    stocks: Sequence[Stock] = ()
    facets: Sequence[Facet] = ()
    ordering: Sequence[str] = ()
    request: HttpRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Let in who may view the objects of the stock that is selected."""
        parent: Any = super()
        try:
            # Whoever may view none of them does not learn which there are.
            may_any = any(may_view(request.user, [stock]) for stock in self.get_stocks())
            if not may_any or not may_view(request.user, [self.selection.stock]):
                return self.handle_no_permission()
            return parent.dispatch(request, *args, **kwargs)
        except (InvalidSelection, UnknownFacet, UnknownFacetValue) as error:
            raise BadRequest(str(error)) from error

    def get_stocks(self) -> Iterable[Stock]:
        """Return the stocks that can be selected."""
        stocks = self.stocks if self.process is None else self.process.stocks
        if not stocks:
            name = type(self).__name__
            raise ImproperlyConfigured(
                f"{name} has no stocks to select: set process or stocks, or override get_stocks()."
            )
        return stocks

    def get_facets(self) -> Iterable[Facet]:
        """Return the facets that the form offers."""
        return self.facets if self.process is None else self.process.facets

    def get_members(self) -> "QuerySet[Any]":
        """Return who is walked through; override it to leave out what the user may not see."""
        return self.selection.members()

    @cached_property
    def selection(self) -> StockSelection:
        """What the query string selects."""
        return StockSelection.from_query(self.request.GET, self.get_stocks())

    @cached_property
    def sequencer(self) -> StockSequencer:
        """The walk through what is selected."""
        return StockSequencer(self.selection, ordering=self.ordering, members=self.get_members())

    def query(self, **more: str) -> QueryDict:
        """Return the query string of the selection, all others passed on, with *more*."""
        query = self.selection.query(self.request.GET)
        query.pop(STEP, None)
        for name, text in more.items():
            query[name] = text
        return query

    def form(self) -> FacetForm:
        """Return the form that selects, for the stocks that the user may view."""
        others = self.query()
        others.pop(AT, None)
        return FacetForm(
            self.selection,
            stocks=[one for one in self.get_stocks() if may_view(self.request.user, [one])],
            facets=self.get_facets(),
            others=others,
        )


class StockSequencerView(StockSelectionMixin, View):
    """Leads to a member of a stock: the first, previous, next or last one, or that at a number.

    ::

        class LeadWalk(StockSequencerView):
            process = sales
            pattern_name = "lead"         # takes the key; else the object's get_absolute_url()

        path("leads/walk/", LeadWalk.as_view(), name="lead-walk")

    ``?stock=hot&facet-channel=web&step=next&at=17`` redirects to the page of the member after
    17, with the selection, the new place and all other parameters. Where there is none, the walk
    ends with a page of its own.

    Attributes:
        pattern_name: The URL pattern of an object's page.
        end_template_name: The page at the end.
    """

    http_method_names = ["get", "head", "options"]
    pattern_name = ""
    end_template_name = "stockflow/walk_end.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Redirect to the member, or end."""
        at = request.GET.get(AT, "")
        found = self.sequencer.step(request.GET.get(STEP) or "first", at)
        if found is None:
            return self.end()
        query = self.query(**{AT: self.sequencer.cursor(found)})
        return HttpResponseRedirect(f"{self.get_object_url(found)}?{query.urlencode()}")

    def get_object_url(self, obj: Any) -> str:
        """Return the address of the object's page."""
        if self.pattern_name:
            return reverse(self.pattern_name, args=[obj.pk])
        if not hasattr(obj, "get_absolute_url"):
            raise ImproperlyConfigured(
                f"{type(self).__name__} does not know the page of a {obj._meta.label}: set "
                "pattern_name, or give the model a get_absolute_url()."
            )
        return str(obj.get_absolute_url())

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """Return what the page at the end is told."""
        back = {step: f"?{self.query(step=step).urlencode()}" for step in ("first", "last")}
        told = {"selection": self.selection, "count": self.sequencer.count(), "form": self.form()}
        return {"title": self.selection.label, **told, **back, **more}

    def end(self) -> HttpResponse:
        """Answer where no member is left in the direction."""
        return render(self.request, self.end_template_name, self.get_context_data())


class SequenceMixin(StockSelectionMixin):
    """For a ``DetailView`` of members: its context's *walk* leads to the others.

    ::

        class LeadPage(SequenceMixin, DetailView):
            model = Lead
            process = sales
            walk_name = "lead-walk"

        {% load stockflow %}{% walk %}

    *walk* is None where the query string selects no stock. The object may have left the stock:
    its place is then that of who stands there now.

    Attributes:
        walk_name: The URL pattern of the :class:`StockSequencerView`; its order is this one's.
    """

    walk_name = ""

    def get_walk_url(self) -> str:
        """Return the address of the view that leads from member to member."""
        return reverse(self.walk_name)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the walk."""
        parent: Any = super()
        told: dict[str, Any] = parent.get_context_data(**kwargs)
        return {**told, "walk": self.get_walk(told["object"])}

    def get_walk(self, obj: Any) -> Walk | None:
        """Return how to go on from *obj*."""
        if "stock" not in self.request.GET:
            return None
        own = self.sequencer.cursor(obj)
        at = self.request.GET.get(AT) or own
        if self.sequencer.key(at) != obj.pk:  # the place of another object
            at = own
        query, address = self.query(**{AT: at}), self.get_walk_url()
        steps = {step: f"{address}?{self.query(at=at, step=step).urlencode()}" for step in STEPS}
        return Walk(
            self.selection,
            self.sequencer.place(at),
            **steps,
            address=address,
            query=query,
            form=self.form(),
        )

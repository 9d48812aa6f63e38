"""A stock in the admin: its members, by facet and by when they came, and what can be done."""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from stockflow.admin import StockflowAdmin
from stockflow.domain.errors import StockflowError
from stockflow.machines import machine_of
from stockflow.projections.entries import EntryAdmin
from stockflow.projections.facets import Facet, facets_on
from stockflow.projections.rows_now import rows_of
from stockflow.projections.selections import PREFIX, FacetSelection, label_of, text_of
from stockflow.projections.stocks import Stock


class StockAdmin(EntryAdmin, StockflowAdmin):  # type: ignore[misc]  # one style sheet, named twice
    """The members that a stock has now; the base of what ``register_stock`` makes.

    Unless attributes say otherwise it shows each object with its state, since when, until when
    and its facets, filters by facet, cuts by when they came, and offers the transitions that
    lead out of the stock's states. ``date_hierarchy = ""`` takes the cut away.
    """

    change_form_template = "stockflow/admin/change_form.html"

    def __init__(self, model: Any, admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        given = self.date_hierarchy
        cut = self.stock.reference.field.since_name if given is None else given
        self.__dict__["date_hierarchy"] = cut or None  # an empty one turns it off

    @property
    def stock(self) -> Stock:
        """The stock."""
        declaration: Any = self.entry.declaration
        return declaration  # type: ignore[no-any-return]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        members = rows_of(self.stock)
        subjects = self.get_subjects(request)
        members = members if subjects is None else members.filter(pk__in=subjects.values("pk"))
        ordering = self.get_ordering(request)
        return members.order_by(*ordering) if ordering else members

    def get_subjects(self, request: HttpRequest) -> QuerySet[Any] | None:
        """Return the objects that the user may see, None for all of them."""
        return None

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        # One that left the stock still has a page: that where its last transition was made.
        found = super().get_object(request, object_id, from_field)
        if found is not None or from_field is not None:
            return found
        rows = self.get_subjects(request)
        if rows is None:
            rows = self.model._base_manager.using(self.stock.using).all()
        try:
            return rows.filter(pk=self.model._meta.pk.to_python(object_id)).first()
        except (ValueError, ValidationError):
            return None

    def has_transition_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        own = admin.site._registry.get(self.model)
        may = own is None or own.has_change_permission(request, obj)
        return self.may_change(request) and may

    def get_list_display(self, request: HttpRequest) -> Any:
        if tuple(self.list_display) != ("__str__",):
            return self.list_display
        field = self.stock.reference.field
        times = (field.since_name, *([field.due_name] if self._decays() else []))
        return ("__str__", field.name, *times, *self._facet_columns(), "stock_history")

    def get_list_filter(self, request: HttpRequest) -> Any:
        if self.list_filter:
            return self.list_filter
        facets = facets_of_rows(self.stock)
        return [_filter_of(self.stock, lookup, facet) for lookup, facet in facets.items()]

    def get_list_select_related(self, request: HttpRequest) -> Any:
        paths = (self.stock.reference.facets[lookup].hops for lookup, _ in self._lookups())
        related = tuple("__".join(hop.name for hop in hops) for hops in paths if hops)
        return self.list_select_related or related or False

    def get_ordering(self, request: HttpRequest) -> Any:
        return self.ordering or (f"-{self.stock.reference.field.since_name}", "-pk")

    def stock_history_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.named(super().stock_history_view(*args, **kwargs))

    def stock_transition_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.named(super().stock_transition_view(*args, **kwargs))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        told = {"walk_url": self._walk_url(request), **(extra_context or {})}
        return super().changelist_view(request, told)

    @admin.display(description="history")
    def stock_history(self, obj: Any) -> str:
        """A link to the object's history."""
        url = self._address("stock_history", quote(obj.pk))
        return format_html('<a class="stockflow-link" href="{}">History</a>', url)

    def _offered(self) -> list[str]:
        if self.transitions is not None:
            return [*self.transitions]
        rules = machine_of(self.model, self.stock.reference.name).rules
        out = {r.transition for r in rules if r.source in {*self.stock.states, "*", "+"}}
        return [name for name in super()._offered() if name in out]

    def _decays(self) -> bool:
        rules = machine_of(self.model, self.stock.reference.name).rules
        return any(rule.delay is not None and rule.source in self.stock.states for rule in rules)

    def _lookups(self) -> Iterator[tuple[str, Facet | None]]:
        declared = facets_of_rows(self.stock)
        for lookup, path in self.stock.reference.facets.items():
            if not path.is_fixed:
                yield lookup, declared.get(lookup)

    def _facet_columns(self) -> Iterator[Callable[[Any], str]]:
        for lookup, facet in self._lookups():
            yield _column(lookup, facet)

    def _walk_url(self, request: HttpRequest) -> str:
        query = request.GET.copy()
        for name in [name for name in query if not name.startswith(PREFIX)]:
            query.pop(name)
        try:
            url = reverse("stockflow:walk", args=[self.stock.slug])
        except NoReverseMatch:  # the project has left out the pages
            return ""
        return f"{url}?{query.urlencode()}" if query else url


class SampledStockAdmin(EntryAdmin):
    """The rows that a sampled stock's query finds now: they have no history, and no transitions."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        declaration: Any = self.entry.declaration
        rows: QuerySet[Any] = declaration.all()
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows


def facets_of_rows(stock: Stock) -> dict[str, Facet]:
    """Return the declared facets that the stock's rows have, one for each lookup."""
    paths, found = stock.reference.facets, facets_on(stock.reference)
    return {lookup: facet for lookup, facet in found.items() if not paths[lookup].is_fixed}


def _column(lookup: str, facet: Facet | None) -> Callable[[Any], str]:
    def column(obj: Any) -> str:
        value = obj
        for name in lookup.split("__"):
            value = getattr(value, name, None)
        return label_of(facet, value)

    title = facet.name.lower() if facet else lookup.replace("__", " ").replace("_", " ")
    column.__name__ = f"facet_{lookup}"
    return admin.display(description=title, ordering=lookup)(column)


def _filter_of(stock: Stock, lookup: str, facet: Facet) -> type[admin.SimpleListFilter]:
    """Return the filter by *facet*: the values that members have, with how many have each."""

    class FacetFilter(admin.SimpleListFilter):
        title = facet.name.lower()
        parameter_name = PREFIX + facet.slug

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            rows = model_admin.get_queryset(request).order_by()
            values = rows.values_list(lookup, flat=True).distinct()
            named = [(text_of(value), label_of(facet, value)) for value in values]
            return sorted(named, key=lambda pair: pair[1])

        def has_output(self) -> bool:
            return True

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            text = self.value()
            if not text:
                return queryset
            try:
                return FacetSelection.from_text(stock, facet, text).narrow(queryset)
            except StockflowError as error:
                raise IncorrectLookupParameters(str(error)) from error

    return FacetFilter

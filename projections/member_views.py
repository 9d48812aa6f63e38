"""The pages of members: a walk through a stock, one member after another."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.urls import NoReverseMatch, reverse
from django.views.generic import DetailView

from stockflow.audit import length
from stockflow.projections import registry
from stockflow.projections.facets import Facet, facets_on
from stockflow.projections.rows_now import rows_of
from stockflow.projections.sequences import SequenceMixin, StockSelectionMixin, StockSequencerView
from stockflow.projections.stocks import Stock
from stockflow.subjects import stock_fields


class _OfStock(StockSelectionMixin):
    """The stock is that of the address, its objects come in the order in which they entered."""

    kwargs: dict[str, Any]

    @property
    def stock(self) -> Stock:
        slug = self.kwargs["slug"]
        stock = registry.declared.stocks.get(slug)
        if stock is None or stock.is_sampled:
            raise Http404(f"There is no stock {slug!r} whose members have a history.")
        return stock

    @property
    def ordering(self) -> list[str]:  # type: ignore[override]  # known only with the request
        return [self.stock.reference.field.since_name]

    def get_stocks(self) -> Iterable[Stock]:
        return [self.stock]

    def get_facets(self) -> Iterable[Facet]:
        return facets_on(self.stock.reference).values()


class WalkView(_OfStock, StockSequencerView):
    """Leads to a member's page."""

    end_template_name = "stockflow/walk_end_page.html"

    def get_object_url(self, obj: Any) -> str:
        return reverse("stockflow:member", args=[self.stock.slug, quote(obj.pk)])

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        told = {**admin.site.each_context(self.request), **super().get_context_data(**more)}
        return {**told, "stock": self.stock}


class MemberView(_OfStock, SequenceMixin, DetailView):  # type: ignore[type-arg]  # no class to subscript at run time
    """Shows one object: where it is, since when, and its history, with the way to the next."""

    template_name = "stockflow/member.html"
    context_object_name = "member"

    def get_queryset(self) -> "QuerySet[Any]":
        return self.stock.reference.model._default_manager.using(self.stock.using).all()

    def get_object(self, queryset: "QuerySet[Any] | None" = None) -> Any:
        key = unquote(self.kwargs["key"])
        try:
            found = self.get_queryset().filter(pk=key).first()
        except (ValueError, ValidationError):
            found = None
        if found is None:
            raise Http404(f"There is no {self.stock.reference.model._meta.verbose_name} {key!r}.")
        return found

    def get_walk_url(self) -> str:
        return reverse("stockflow:walk", args=[self.stock.slug])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        told = super().get_context_data(**kwargs)
        found = told["object"]
        return {
            **admin.site.each_context(self.request),
            **told,
            "title": str(found),
            "stock": self.stock,
            "state": getattr(found, self.stock.reference.name),
            "is_member": rows_of(self.stock).filter(pk=found.pk).exists(),
            "entries": [
                (entry, "" if entry.spent is None else length(entry.spent))
                for entry in found.stock_history()
            ],
            "has_several_fields": len(stock_fields(type(found))) > 1,
            "change_url": _change_url(self.request, found),
        }


def _change_url(request: HttpRequest, found: Model) -> str:
    """Return the address of the object in the admin, nothing where it is not there to be seen."""
    model_admin = admin.site._registry.get(type(found))
    if model_admin is None or not model_admin.has_view_or_change_permission(request, found):
        return ""
    meta = found._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(found.pk)])
    except NoReverseMatch:  # the site is nowhere in the project's addresses
        return ""

"""Entries of an admin site that are no models: one for each stock and flow."""

from collections.abc import Iterable, Mapping
from copy import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.db.models.options import Options
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from stockflow.contexts import context
from stockflow.projections.permissions import may_view
from stockflow.projections.stocks import Stock
from stockflow.transition_admin import actor_of

if TYPE_CHECKING:
    from stockflow.projections.flows import Flow

LABEL: Final = "stockflow_projections"
"""Under which app the addresses are; a site's pages say *Stocks* and *Flows*."""


class _EntryOptions(Options):  # type: ignore[type-arg]  # no class to subscript at run time
    """What the admin reads of a model, under the names of an entry."""

    group: str

    @property
    def app_config(self) -> Any:
        return SimpleNamespace(verbose_name=self.group)


class Entry:
    """What stands in a site's registry where a model usually does.

    No model class is made: a proxy would be seen by ``makemigrations``, counted among its
    parent's children, and clash with itself when its module is loaded again. Rows are those of
    the model itself; only its addresses and its name are the entry's own.

    Attributes:
        group: Under which heading it stands: ``"Stocks"`` or ``"Flows"``.
        declaration: The stock or flow.
    """

    def __init__(self, group: str, declaration: "Stock | Flow", model: Any) -> None:
        self.group, self.declaration = group, declaration
        options: Any = copy(model._meta)
        options.__class__ = _EntryOptions
        options.group, options.app_label = group, LABEL
        options.object_name = f"{group[:-1]}_{declaration.slug}"
        options.model_name = options.object_name.lower()
        title = declaration.title if isinstance(declaration, Stock) else declaration.name
        options.verbose_name_plural = title  # one of its rows is called as ever
        self._meta = options

    def __repr__(self) -> str:
        return f"<Entry: {self._meta.object_name}>"

    @property
    def __name__(self) -> str:
        return str(self._meta.object_name)

    @property
    def stocks(self) -> Iterable[Stock]:
        """The stocks whose objects are shown."""
        declaration = self.declaration
        return [declaration] if isinstance(declaration, Stock) else declaration.stocks


class _Named:
    """A row under its entry's name: what looks for its pages by the model's finds the entry's.

    django-unfold does, at the head of each page of an object.
    """

    def __init__(self, row: Any, entry: Entry) -> None:
        self._row, self._meta = row, entry._meta

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_row"], name)

    def __str__(self) -> str:
        return str(self._row)


class EntryChangeList(ChangeList):
    """A list whose addresses and title are the entry's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opts = self.model_admin.opts
        self.title = str(self.opts.verbose_name_plural)

    @property
    def of_rows(self) -> "EntryChangeList":
        """The list under the name of its rows, to say how many there are."""
        named = copy(self)
        named.opts = self.model._meta
        return named


class ActionsMixinBase:
    """Actions for several stocks or flows: those of all mixins of an entry are put together.

    ::

        class CallActions(ActionsMixinBase):
            actions = ["call"]

            @admin.action(description="Call them")
            def call(self, request, queryset): ...

        site.register_stock(hot, action_mixins=[CallActions, MailActions])

    An action is for who may change the objects, unless it names ``permissions`` of its own.
    """

    actions: Any = ()


class EntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """The admin of an entry: rows to be read and acted upon, not written by hand."""

    entry: ClassVar[Entry]
    list_per_page = 50
    show_full_result_count = False
    change_list_template = "stockflow/admin/entry_list.html"

    class Media:
        css: ClassVar = {"all": ["stockflow/history.css"]}

    def __init__(self, model: Any, admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        self.opts = self.entry._meta

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EntryChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        told = {"entry": self.entry, "declaration": self.entry.declaration, **(extra_context or {})}
        with context(actor=actor_of(request)):  # what an action does, the user did
            return super().changelist_view(request, told)

    def render_change_form(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.named(super().render_change_form(*args, **kwargs))

    def history_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.named(super().history_view(*args, **kwargs))

    def named(self, answer: HttpResponse) -> HttpResponse:
        """Return *answer* with the row that it shows under the name of the entry."""
        told = answer.context_data if isinstance(answer, TemplateResponse) else None
        for name in ("original", "object"):
            if told and told.get(name) is not None:
                told[name] = _Named(told[name], self.entry)
        return answer

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        # Of Django 6.1, where an action may also stand on the form of one object.
        located = {} if action_location is None else {"action_location": action_location}
        base: Any = super()
        actions: Mapping[str, Any] = base.get_actions(request, **located)
        if self.may_change(request):
            return actions
        return {name: one for name, one in actions.items() if _names_permissions(one)}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_view(request.user, self.entry.stocks)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Without an object it is asked of actions; no form of an object is ever written.
        return obj is None and self.may_change(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_change(self, request: HttpRequest) -> bool:
        """Return whether the user may change the objects, as their own model has it."""
        user: Any = request.user
        metas = {stock.subject_model._meta for stock in self.entry.stocks}
        return all(
            user.has_perm(f"{meta.app_label}.{get_permission_codename('change', meta)}")
            for meta in metas
        )

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        return {**super().get_model_perms(request), "change": False}


def _names_permissions(action: Any) -> bool:
    # A tuple until Django 6.1, then an object of its own.
    called = action[0] if isinstance(action, tuple) else action.func
    return hasattr(called, "allowed_permissions")

"""The admin site of stocks and flows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from stockflow.errors import InvalidDeclaration
from stockflow.projections import registry
from stockflow.projections.entries import ActionsMixinBase, Entry, EntryAdmin
from stockflow.projections.flow_admin import FlowAdmin
from stockflow.projections.flows import Flow
from stockflow.projections.stock_admin import SampledStockAdmin, StockAdmin
from stockflow.projections.stocks import Stock
from stockflow.tables import Event

if TYPE_CHECKING:
    from stockflow.projections.registry import Declaration

_GROUPS = ("Stocks", "Flows")


class StockAndFlowAdminSite(admin.AdminSite):
    """An admin site with an entry for each stock and each flow, beside the project's own.

    ::

        # urls.py
        site = StockAndFlowAdminSite("stocks")
        site.register_stock(hot, action_mixins=[CallActions], list_display=["channel", "owner"])
        site.register_declared()        # all others, as their stocks modules have them
        path("stock-admin/", site.urls)

    Rows are read-only: what changes a member is an action or a transition. Who may view a
    model's objects sees its stocks and flows, who may change them may act.

    Args:
        name: The name of the site's URL namespace.
    """

    site_header = site_title = index_title = "Stocks and flows"

    def __init__(self, name: str = "stocks_and_flows") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register_stock(
        self,
        stock: Stock,
        admin_class: type[EntryAdmin] | None = None,
        *,
        action_mixins: Iterable[type[ActionsMixinBase]] = (),
        **attributes: Any,
    ) -> None:
        """Give *stock* an entry.

        Args:
            stock: The stock.
            admin_class: What its admin derives from: ``StockAdmin``, for a sampled one
                ``SampledStockAdmin``.
            action_mixins: What has further actions for it.
            **attributes: Options of the admin, such as ``list_display``.

        Raises:
            InvalidDeclaration: If it is no stock, has an entry already, or an option would
                make rows be written.
        """
        if not isinstance(stock, Stock):
            raise InvalidDeclaration(f"{stock!r} is no Stock: flows go to register_flow().")
        usual: type[EntryAdmin] = SampledStockAdmin if stock.is_sampled else StockAdmin
        entry, model = Entry("Stocks", stock, stock.subject_model), stock.subject_model
        self._enter(entry, model, admin_class or usual, action_mixins, attributes)

    def register_flow(
        self,
        flow: Flow,
        admin_class: type[EntryAdmin] = FlowAdmin,
        *,
        action_mixins: Iterable[type[ActionsMixinBase]] = (),
        **attributes: Any,
    ) -> None:
        """Give *flow* an entry; its rows are the events. Arguments are those of a stock.

        Raises:
            InvalidDeclaration: As for a stock.
        """
        if not isinstance(flow, Flow):
            raise InvalidDeclaration(f"{flow!r} is no Flow: stocks go to register_stock().")
        self._enter(Entry("Flows", flow, Event), Event, admin_class, action_mixins, attributes)

    def register_declared(self) -> None:
        """Give all stocks and flows that are declared an entry, in declared order."""
        for stock in registry.declared.stocks.values():
            if self._entry_of(stock) is None:
                self.register_stock(stock)
        for flow in registry.declared.flows.values():
            if self._entry_of(flow) is None:
                self.register_flow(flow)
        declared: list[Declaration] = [*registry.declared.stocks.values()]
        declared += registry.declared.flows.values()
        entries: Any = self._registry

        def place(item: tuple[Any, Any]) -> int:
            known = isinstance(item[0], Entry) and item[0].declaration in declared
            return declared.index(item[0].declaration) if known else len(declared)

        self._registry = dict(sorted(entries.items(), key=place))

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the entries as registered, stocks and flows apart; models that were added follow."""
        places = {entry: n for n, entry in enumerate(self._registry)}
        found: list[Any] = super().get_app_list(request, app_label)
        groups = []
        for app in found:
            rest = list(app["models"])
            for group in _GROUPS:
                own = [one for one in rest if getattr(one["model"], "group", None) == group]
                rest = [one for one in rest if one not in own]
                own.sort(key=lambda one: places[one["model"]])
                groups += [{**app, "name": group, "models": own}] if own else []
            groups += [{**app, "models": rest}] if rest else []
        return groups

    def _entry_of(self, declaration: "Declaration") -> Any:
        entries: Iterable[Any] = self._registry
        of = (one for one in entries if getattr(one, "declaration", None) is declaration)
        return next(of, None)

    def _enter(
        self,
        entry: Entry,
        model: Any,
        admin_class: type[EntryAdmin],
        mixins: Iterable[type[ActionsMixinBase]],
        attributes: dict[str, Any],
    ) -> None:
        slug, mixed = entry.declaration.slug, tuple(mixins)
        if self._entry_of(entry.declaration) is not None:
            raise InvalidDeclaration(
                f"{entry.declaration!r} has an entry in the site {self.name!r} already: register it "
                "once, before register_declared()."
            )
        if attributes.get("list_editable") or getattr(admin_class, "list_editable", ()):
            raise InvalidDeclaration(
                f"The rows of {slug!r} are read-only, so list_editable cannot be: make an action of it."
            )
        given = attributes.pop("actions", ())
        actions = [*_actions(mixed), *(admin_class.actions or ()), *(given or ())]
        made: Any = type(
            f"{entry.__name__}Admin",
            (*mixed, admin_class),
            {**attributes, "entry": entry, "actions": actions, "__module__": __name__},
        )
        entries: Any = self._registry
        entries[entry] = made(model, self)


def _actions(mixins: Iterable[type[ActionsMixinBase]]) -> list[Any]:
    """Return the actions of all mixins and of what they derive from, each once."""
    found = [
        action
        for mixin in mixins
        for cls in reversed(mixin.__mro__)
        for action in vars(cls).get("actions", ())
    ]
    return list(dict.fromkeys(found))

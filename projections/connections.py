"""The flows that a stock is connected by."""

from typing import TYPE_CHECKING, Any, cast

from stockflow.projections import registry
from stockflow.projections.stock_declarations import StockDeclaration

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.projections.flows import Flow
    from stockflow.projections.stocks import Stock


class Connections(StockDeclaration):
    """The flows into a stock and out of it, as declared."""

    @property
    def inflows(self) -> "tuple[Flow, ...]":
        """The flows that have it as a sink, in declared order."""
        return tuple(flow for flow in registry.declared.flows.values() if self in flow.sinks)

    @property
    def outflows(self) -> "tuple[Flow, ...]":
        """The flows that have it as a source, in declared order."""
        return tuple(flow for flow in registry.declared.flows.values() if self in flow.sources)

    def flows_into(self) -> "dict[Flow, QuerySet[Any]]":
        """Return each flow that leads into it, with the events that came by it."""
        return {flow: flow.all(sink=cast("Stock", self)) for flow in self.inflows}

    def flows_outfrom(self) -> "dict[Flow, QuerySet[Any]]":
        """Return each flow that leads out of it, with the events that went by it."""
        return {flow: flow.all(source=cast("Stock", self)) for flow in self.outflows}

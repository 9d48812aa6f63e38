"""What the events add up to: stocks, flows, facets and processes, at any instant."""

from stockflow.projections.base import Projection, register_projection
from stockflow.projections.facets import Facet
from stockflow.projections.flows import Flow
from stockflow.projections.processes import Process
from stockflow.projections.reports import ProcessReport
from stockflow.projections.selections import FacetForm, FacetSelection, StockSelection
from stockflow.projections.sequencers import StockSequencer
from stockflow.projections.stocks import Stock

__all__ = [
    "Facet",
    "FacetForm",
    "FacetSelection",
    "Flow",
    "Process",
    "ProcessReport",
    "Projection",
    "Stock",
    "StockSelection",
    "StockSequencer",
    "register_projection",
]

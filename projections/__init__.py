"""What the events add up to: stocks, flows, facets and processes, at any instant."""

from stockflow.projections.additive import AdditiveProjection, Adds
from stockflow.projections.base import Projection, register_projection
from stockflow.projections.cell_facets import SourceFacet, TargetFacet
from stockflow.projections.event_callables import EventCallable
from stockflow.projections.facets import Facet
from stockflow.projections.flows import Flow
from stockflow.projections.handling import Batch, EventProjection
from stockflow.projections.local_days import LocalDay
from stockflow.projections.processes import Process
from stockflow.projections.reads import Reads
from stockflow.projections.reports import ProcessReport
from stockflow.projections.selections import FacetForm, FacetSelection, StockSelection
from stockflow.projections.sequencers import StockSequencer
from stockflow.projections.stocks import Stock

__all__ = [
    "AdditiveProjection",
    "Adds",
    "Batch",
    "EventCallable",
    "EventProjection",
    "Facet",
    "FacetForm",
    "FacetSelection",
    "Flow",
    "LocalDay",
    "Process",
    "ProcessReport",
    "Projection",
    "Reads",
    "SourceFacet",
    "Stock",
    "StockSelection",
    "StockSequencer",
    "TargetFacet",
    "register_projection",
]

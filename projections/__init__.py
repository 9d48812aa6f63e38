"""What the events add up to: stocks, flows, facets and processes, at any instant."""

from stockflow.projections.base import Projection, register_projection
from stockflow.projections.facets import Facet
from stockflow.projections.flows import Flow
from stockflow.projections.processes import Process
from stockflow.projections.stocks import Stock

__all__ = ["Facet", "Flow", "Process", "Projection", "Stock", "register_projection"]

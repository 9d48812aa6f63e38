"""The errors, as a tree.

::

    StockflowError
    ├── InvalidInstant        a date, a naive instant, one in the future or before the object's past
    │   └── LateEntry         an instant at or before a decay that is already recorded
    ├── UnknownState          a state that the machine does not have
    ├── UnknownTransition     a transition that the model does not have
    ├── UnknownFacet          a facet that the stock field does not declare
    ├── UnknownFacetValue     a value that the facet cannot have
    ├── UnknownLifecycle      a lifecycle of which nothing is recorded
    ├── InvalidBuckets        bounds or a grain that cannot be cut
    ├── InvalidMeasure        a number that cannot be asked for, or not added up so
    ├── InvalidDelay          a decay's delay that gives no due instant
    ├── InvalidContext        data that cannot be kept in an event
    ├── InvalidWitness        a witness that is none, or is not signed by this project
    ├── UnknownProjection     no projection has that name
    ├── ProjectionStopped     a projection that can read no further before its error is mended
    ├── CheckDisturbed        another check or replay came between a check and its end
    ├── GenerationOutdated    rows of another version, or zone, than the code's: not added to
    ├── LogCut                the log ends before what was read of it, as after an older dump
    ├── ProjectionBehind      a projection that did not read far enough in time
    ├── ConcurrentTransition  another writer was first (in ``stockflow.errors``, as those below)
    ├── InvalidDeclaration    a model, stock or flow that cannot work
    ├── InvalidSelection      a stock, value or place that a query string cannot mean
    ├── ScheduleFailed        a decay or a periodic job failed; the others were done
    ├── InsideTransaction     what makes transactions of its own was called inside one
    └── InvalidIsolation      transactions of the database see too little

All take their facts as positional arguments, so that they survive ``pickle``.
"""


class StockflowError(Exception):
    """The base of every error that stockflow raises of its own accord."""


class InvalidInstant(StockflowError, ValueError):
    """An instant that cannot be used: naive, not a datetime, in the future, or out of order."""


class LateEntry(InvalidInstant):
    """An instant at or before what is already recorded for the object."""


class UnknownState(StockflowError, ValueError):
    """A state that the machine does not have."""


class UnknownTransition(StockflowError, ValueError):
    """A transition that the model does not have."""


class UnknownFacet(StockflowError, ValueError):
    """A facet that the stock field does not declare."""


class UnknownFacetValue(StockflowError, ValueError):
    """A value that a facet cannot have."""


class UnknownLifecycle(StockflowError, LookupError):
    """A lifecycle of which nothing is recorded in the database asked."""


class InvalidBuckets(StockflowError, ValueError):
    """Bounds or a grain from which no buckets can be cut."""


class InvalidMeasure(StockflowError, ValueError):
    """A number that cannot be asked for, or that does not add up in the way asked for."""


class InvalidDelay(StockflowError, ValueError):
    """A decay's delay that gives no due instant."""


class InvalidContext(StockflowError, ValueError):
    """Data that cannot be kept in an event."""


class InvalidWitness(StockflowError, ValueError):
    """A witness that is none, or is not signed by this project."""

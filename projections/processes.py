"""Processes: stocks, flows and facets that belong on one page."""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Unpack

from stockflow.domain.intervals import Grain
from stockflow.errors import InvalidDeclaration
from stockflow.projections import registry
from stockflow.projections.alluvials import AlluvialRow, alluvial
from stockflow.projections.answers import Series
from stockflow.projections.declaring import check_splits, checked_facets
from stockflow.projections.facets import By, facet_of
from stockflow.projections.flows import Flow
from stockflow.projections.level_series import level_series
from stockflow.projections.measured import Cutting
from stockflow.projections.reports import ProcessReport, report
from stockflow.projections.roll_forwards import RollForward, roll_forward
from stockflow.projections.statements import Known
from stockflow.projections.stocks import Stock
from stockflow.projections.tables import Table


class Process:
    """A named group of stocks, with the flows between them.

    ::

        sales = Process("sales", stocks=[hot, pipeline, won], flows=[winning])

    Args:
        slug: What identifies it among the processes.
        stocks: Its stocks, in the order in which to show them.
        flows: Its flows.
        facets: What its page can be split by, some with the prefix that leads to them; every
            stock's field declares them.
        name: What to show; made from the slug where it is not given.
        description: What to say about it.

    Raises:
        InvalidDeclaration: If the slug is taken, there is no stock, or the stocks are in
            different databases.
        UnknownFacet: If a stock's field does not declare a facet.
    """

    def __init__(
        self,
        slug: str,
        *,
        stocks: Iterable[Stock],
        flows: Iterable[Flow] = (),
        facets: Iterable[By] = (),
        name: str = "",
        description: str = "",
    ) -> None:
        self.slug, self.description = slug, description
        self.stocks, self.flows = tuple(stocks), tuple(flows)
        self.splits = checked_facets("Process", slug, facets)
        self.facets = tuple(filter(None, map(facet_of, self.splits)))
        self._check()
        registry.register(registry.declared.processes, self)
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Process: {self.slug}>"

    def series(
        self,
        start: datetime,
        end: datetime,
        *,
        every: Grain | timedelta,
        by: By | None = None,
        tz: tzinfo | None = None,
        **known: Unpack[Known],
    ) -> dict[str, Series]:
        """Return the level series of each stock by its slug, all from one statement.

        Arguments and errors are those of :meth:`Stock.series`.
        """
        return level_series(self.stocks, start, end, every=every, by=by, tz=tz, known=known)

    def roll_forward(
        self, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> dict[str, RollForward]:
        """Return for each stock, by its slug, how it came from opening to closing.

        ::

            sales.roll_forward(start, end, every="month")["pipeline"].to_pandas()

        One row for each bucket that has begun, and with *by* for each facet value: opening
        level, each declared flow of the process that leads in, what else came, each that leads
        out, what else went, what was reclassified, closing level; all in items, from one
        statement. An event of several declared flows counts for the first of them. In the
        bucket that holds now, *unexplained* is what the rows, counted by another statement,
        have more: 0, unless someone went past the fence or wrote between the two.

        Arguments and errors are those of :meth:`Stock.opening`.
        """
        return roll_forward(self.stocks, self.flows, start, end, cutting)

    def alluvial(
        self, start: datetime, end: datetime, **known: Unpack[Known]
    ) -> dict[str, Table[AlluvialRow]]:
        """Return where the objects of just before *start* are just before *end*, by stock field.

        One row for each pair of states with objects, None being the outside; nobody is counted
        twice. Rows with one *was* sum to its opening level, with one *became* to its closing
        level. An object that came and went between is in none.

        Raises:
            InvalidInstant: If a bound is not an aware datetime, or in the future.
            InvalidBuckets: If *end* is not after *start*.
        """
        return alluvial(self.stocks, start, end, known)

    def report(
        self,
        start: datetime,
        end: datetime,
        *,
        every: Grain,
        by: By | None = None,
        tz: tzinfo | None = None,
    ) -> ProcessReport:
        """Return all that a page needs to show the process: pictures and tables, as text.

        Levels, flows and roll-forwards, split by *by* where it is given. The template tag
        ``{% process "sales" %}`` shows it; the project's own page has it by
        ``{% process_report "sales" as report %}``.

        Arguments and errors are those of :meth:`Stock.series`.
        """
        return report(self, start, end, every=every, by=by, tz=tz)

    def _check(self) -> None:
        for kind, given in (Stock, self.stocks), (Flow, self.flows):
            for one in given:
                if not isinstance(one, kind):
                    raise InvalidDeclaration(
                        f"Process {self.slug!r}: {one!r} is no {kind.__name__}."
                    )
        if not self.stocks:
            raise InvalidDeclaration(f"Process {self.slug!r} needs a stock.")
        if sampled := [stock.slug for stock in self.stocks if stock.is_sampled]:
            raise InvalidDeclaration(
                f"Process {self.slug!r} would mix the sampled stock {sampled[0]!r} with the log, "
                "which knows nothing of it: show its records beside the process instead."
            )
        aliases = sorted({stock.using for stock in self.stocks})
        if len(aliases) > 1:
            raise InvalidDeclaration(
                f"Process {self.slug!r} has stocks in the databases {', '.join(aliases)}, and one "
                "statement answers it: declare a process for each."
            )
        check_splits([stock.reference for stock in self.stocks], self.splits)

"""The answers in tests/data, computed by other means, and the comparison with ours, row by row."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from stockflow.projections import Flow, Stock
from stockflow.projections.answers import Member

DATA = Path(__file__).resolve().parents[1] / "data"
DAY = timedelta(days=1)
Row = tuple[str, ...]


def rows_of(path: Path) -> list[Row]:
    """Return the rows of a CSV file, without its header."""
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    return [tuple(row) for row in csv.reader(text.splitlines())][1:]


def instant(text: str) -> datetime:
    """Return the instant that a file writes as *text*."""
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class DataSet:
    """One folder of tests/data: a history, and what a right answer about it looks like."""

    name: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return DATA / self.name

    @cached_property
    def meta(self) -> dict[str, object]:
        """What the files say about themselves."""
        meta: dict[str, object] = json.loads((self.folder / "expected/meta.json").read_text())
        return meta

    @property
    def facet(self) -> str:
        """The facet that the expected tables are split by."""
        return str(self.meta["facet"])

    @property
    def states(self) -> list[str]:
        """All states, in order."""
        return list(self.meta["states"])  # type: ignore[call-overload,no-any-return]

    @property
    def start(self) -> datetime:
        """The first instant of the first day."""
        return instant(f"{self.meta['first_day']}T00:00:00Z")

    @property
    def end(self) -> datetime:
        """The first instant after the last day."""
        return instant(f"{self.meta['last_day']}T00:00:00Z") + DAY

    def events(self) -> list[dict[str, str]]:
        """Return the history, oldest first, each case in its own order."""
        with gzip.open(self.folder / "events.csv.gz", "rt", newline="") as file:
            return sorted(
                csv.DictReader(file),
                key=lambda row: (row["timestamp"], row["case_id"], int(row["seq"])),
            )

    def expected(self, file: str) -> list[Row]:
        """Return the rows of an expected table, ``{facet}`` standing for its facet."""
        return rows_of(self.folder / "expected" / file.format(facet=self.facet))


def compare_transitions(data: DataSet, flows: Mapping[tuple[str, str], Flow]) -> None:
    """Hold the number of events of each pair of states against ``transitions.csv``."""
    found = [(*pair, flow.count(data.start, data.end)) for pair, flow in flows.items()]

    assert_same([tuple(map(str, row)) for row in found if row[2]], data.expected("transitions.csv"))


def compare_stock_daily(data: DataSet, stocks: Mapping[str, Stock]) -> None:
    """Hold the level at each day's end against ``stock_daily.csv``, whole and split."""
    found, split = [], []
    for state, stock in stocks.items():
        series = stock.series(data.start, data.end, every="day", tz=UTC)
        found += [(_day(row.start), state, str(row.value)) for row in series if row.value]
        series = stock.series(data.start, data.end, every="day", tz=UTC, by=data.facet)
        split += [
            (_day(row.start), str(row.facet), state, str(row.value)) for row in series if row.value
        ]

    assert_same(found, data.expected("stock_daily.csv.gz"))
    assert_same(split, data.expected("stock_daily_by_{facet}.csv.gz"))


def compare_flow_weekly(data: DataSet, flows: Mapping[tuple[str, str], Flow]) -> None:
    """Hold the number of events in each week against ``flow_weekly.csv``, whole and split."""
    found, split = [], []
    monday = data.start - data.start.weekday() * DAY
    for pair, flow in flows.items():
        series = flow.series(monday, data.end, every="week", tz=UTC)
        found += [(_day(row.start), *pair, str(row.value)) for row in series if row.value]
        series = flow.series(monday, data.end, every="week", tz=UTC, by=data.facet)
        split += [
            (_day(row.start), str(row.facet), *pair, str(row.value)) for row in series if row.value
        ]

    assert_same(found, data.expected("flow_weekly.csv.gz"))
    assert_same(split, data.expected("flow_weekly_by_{facet}.csv.gz"))


def compare_asof(data: DataSet, stocks: Mapping[str, Stock]) -> None:
    """Hold the level at single instants, some exactly on an event, against ``asof.csv``."""
    found, split = [], []
    for text in data.meta["instants"]:  # type: ignore[attr-defined]
        for state, stock in stocks.items():
            at = instant(text)
            found.append((text, state, str(stock.count(at=at))))
            split += [
                (text, str(v), state, str(n)) for v, n in stock.count(at=at, by=data.facet).items()
            ]

    assert_same([row for row in found if row[-1] != "0"], data.expected("asof.csv"))
    assert_same(split, data.expected("asof_by_{facet}.csv"))


def compare_asof_cases(data: DataSet, everywhere: Stock, case_of: Callable[[Member], str]) -> None:
    """Hold who was where at single instants against ``asof_cases.csv``; nowhere is empty.

    *everywhere* is the stock of all states.
    """
    expected = data.expected("asof_cases.csv.gz")
    found: list[Row] = []
    for text in sorted({row[0] for row in expected}):
        where = {case_of(member): member.state for member in everywhere.members(at=instant(text))}
        found += [(text, case, where.get(case, "")) for at, case, _ in expected if at == text]

    assert_same(found, expected)


def compare_dwell(data: DataSet, stocks: Mapping[str, Stock], *, merged: bool) -> None:
    """Hold how long stays took against ``dwell_visits.csv``, or ``dwell_merged.csv``."""
    found: list[Row] = []
    for state, stock in stocks.items():
        ((_, _, completed, *days, _, _, _),) = stock.dwell(
            data.start, data.end, merged=merged, every=data.end - data.start
        )
        seconds = ["" if one is None else f"{one * 86_400:.6f}" for one in days]
        found.append((state, str(completed), str(stock.count()), *seconds))

    assert_same(found, data.expected(f"dwell_{'merged' if merged else 'visits'}.csv"))


def stocks_of(data: DataSet, make: Callable[[str], Stock]) -> dict[str, Stock]:
    """Return a stock for each state."""
    return {state: make(state) for state in data.states}


def flows_between(data: DataSet, stocks: Mapping[str, Stock]) -> dict[tuple[str, str], Flow]:
    """Return a flow for each pair of states, from the outside too; empty is the outside."""
    return {
        (source, target): Flow(
            f"{data.name}-{source or 'outside'}-{target}",
            sources=[stocks.get(source)],
            sinks=[stocks[target]],
        )
        for source in ("", *stocks)
        for target in stocks
    }


def assert_same(found: Sequence[Row], expected: Sequence[Row]) -> None:
    """Compare two tables as sets of rows, and show the first few that differ."""
    ours, theirs = Counter(found), Counter(expected)

    assert list(_first(ours - theirs)) == [], "rows that should not be there"
    assert list(_first(theirs - ours)) == [], "rows that are missing"


def _first(rows: Counter[Row]) -> Iterator[Row]:
    return iter(sorted(rows)[:5])


def _day(start: datetime) -> str:
    return start.date().isoformat()

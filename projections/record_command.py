"""``manage.py stockflow record``: records of stocks and flows for the past, from the log."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from stockflow import conf
from stockflow.domain.intervals import Bucket
from stockflow.domain.periods import FREQUENCIES, period_start
from stockflow.projections import registry
from stockflow.subcommands import Subcommand, register

if TYPE_CHECKING:
    from stockflow.projections.flows import Flow
    from stockflow.projections.recording import Written
    from stockflow.projections.stocks import Stock

_CHOICES = [name for name, length in FREQUENCIES.items() if length is not None]


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "slugs",
        nargs="*",
        metavar="slug",
        help="Of stocks and flows (default: each exact one with a frequency).",
    )
    parser.add_argument(
        "--start", required=True, help="The first instant, such as 2026-01-01 (UTC)."
    )
    parser.add_argument("--end", help="The last instant (default: now).")
    parser.add_argument(
        "--every", choices=_CHOICES, help="How often (default: the frequency of each)."
    )


def _record(
    command: BaseCommand,
    *,
    slugs: list[str],
    start: str,
    end: str | None,
    every: str | None,
    verbosity: int,
    **options: Any,
) -> None:
    first = _instant("--start", start)
    last = conf.now() if end is None else _instant("--end", end)
    for one in _chosen(slugs):
        frequency = every or one.frequency
        length = FREQUENCIES.get(frequency or "never")
        if length is None:
            raise CommandError(f"{one!r} has no frequency of its own: give --every.")
        written = _write(one, first, last, length, verbosity)
        if verbosity:
            command.stdout.write(
                f"{one.slug}: {written.new:,} new, {written.restated:,} restated, "
                f"{written.unchanged:,} unchanged."
            )


def _write(
    one: "Stock | Flow", first: datetime, last: datetime, length: timedelta, verbosity: int
) -> "Written":
    from stockflow.projections.recording import Written  # noqa: PLC0415  needs the app registry
    from stockflow.projections.stocks import Stock  # noqa: PLC0415  as above

    starts = list(_starts(first, last, length))
    if isinstance(one, Stock):
        total, work = len(starts), one.backfill(starts)
    else:
        cut = [Bucket(at, at + length) for at in starts if at + length <= last]
        total, work = len(cut), one.backfill(cut)
    done, quiet = Written(), None if verbosity else True  # None: draw only on a terminal
    # tqdm writes to sys.stderr: self.stderr would end each redraw with a newline.
    with tqdm(total=total, unit=" records", desc=one.slug, disable=quiet) as bar:
        for written in work:
            done += written
            bar.update(written.new + written.restated + written.unchanged)
    return done


def _starts(first: datetime, last: datetime, length: timedelta) -> Iterator[datetime]:
    at = period_start(first, length)
    if at < first:
        at += length
    while at <= last:
        yield at
        at += length


def _chosen(slugs: list[str]) -> "list[Stock | Flow]":
    declared = registry.declared
    if not slugs:
        both: list[Stock | Flow] = [*declared.stocks.values(), *declared.flows.values()]
        found = [one for one in both if one.frequency and not getattr(one, "is_sampled", False)]
        if not found:
            raise CommandError("No exact stock or flow has a frequency: name some, with --every.")
        return found
    chosen: list[Stock | Flow] = []
    for slug in slugs:
        named = [one[slug] for one in (declared.stocks, declared.flows) if slug in one]
        if not named:
            known = ", ".join([*declared.stocks, *declared.flows]) or "none"
            raise CommandError(f"There is no stock or flow {slug!r} (there is: {known}).")
        for one in named:
            if getattr(one, "is_sampled", False):
                raise CommandError(
                    f"Stock {slug!r} is sampled: nobody can count its past. It is recorded by the "
                    "periodic schedule, at its frequency, from now on."
                )
        chosen += named
    return chosen


def _instant(name: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{name} is no instant: {text!r}. For example: 2026-01-01") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


register(
    "record",
    Subcommand(
        "Write the records of stocks and flows for the past, from the log, and restate those "
        "that the log tells otherwise by now.",
        _add_arguments,
        _record,
    ),
)

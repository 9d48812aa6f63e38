"""Sampled stocks: querysets that are counted at their frequency, and have no other past."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet
from django.db import router
from django.db.models import Count as CountRows
from django.db.models import Q, QuerySet

from stockflow import conf
from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.instants import require_instant
from stockflow.domain.intervals import Grain
from stockflow.errors import InvalidDeclaration
from stockflow.projections.answers import Series, begun
from stockflow.projections.counting import Count, slug_of
from stockflow.projections.declaring import checked_reference, checked_states
from stockflow.projections.facets import By, facet_of, is_declared
from stockflow.projections.narrowing import Narrowing
from stockflow.projections.recorded import at_instant, in_buckets
from stockflow.projections.rows import rows_in
from stockflow.projections.stocks import Stock

if TYPE_CHECKING:
    from stockflow.fields import StockReference


class SampledStock(Stock):
    """What ``Stock(..., queryset=...)`` gives, or ``where=`` with what is no declared facet.

    It is counted when it is asked and when the schedule says so; what was recorded is all the
    past that it has. Measures that need a log refuse.
    """

    is_sampled = True

    def __init__(
        self,
        slug: str,
        reference: "StockReference | None" = None,
        *,
        states: Iterable[str] = (),
        where: Mapping[Any, Any] | None = None,
        queryset: QuerySet[Any] | None = None,
        **options: Any,
    ) -> None:
        self._rows = _rows(slug, reference, states, where or {}, queryset)
        self._declare(slug, **options)

    def __repr__(self) -> str:
        return f"<SampledStock: {self.slug}>"

    @property
    def subject_model(self) -> Any:
        """The model of its objects."""
        return self._rows.model

    @property
    def using(self) -> str:
        """The alias of the database that answers."""
        return self._rows._db or router.db_for_read(self.subject_model)  # type: ignore[attr-defined]

    @property
    def definition(self) -> str:
        """What it is, to be read: the condition of its query."""
        label = self.subject_model._meta.label
        compiler: Any = self._rows.query.get_compiler(self.using)
        try:
            sql, values = compiler.compile(self._rows.query.where)
        except FullResultSet:
            sql, values = "", ()
        except EmptyResultSet:
            return f"sampled: no {label}"
        text = sql % tuple(map(repr, values)) if sql else ""
        return f"sampled: {label}, where {text}" if text else f"sampled: each {label}"

    def all(self) -> QuerySet[Any]:
        """Return the rows that are in it now."""
        return self._rows.using(self.using).all()

    def count(self, at: Any = None, by: Any = None, **known: Any) -> Any:
        """Return how many rows there are now, or were when a record was written.

        Args:
            at: The instant of a record; now where it is not given.
            by: One of the facets that it was declared with.
            known: Not to be asked for: there is no log.

        Raises:
            InvalidInstant: If it was not recorded at that instant.
            InvalidMeasure: If the log is asked for.
        """
        if known:
            self._refuse(f"asked with {', '.join(known)}")
        facet = None if by is None else self._facet(by)
        if at is not None:
            return at_instant(self, require_instant(at, "at"), facet)
        if facet is None:
            return self.all().count()
        return self._split(facet)

    def series(  # type: ignore[override]  # there is no log to ask
        self,
        start: datetime,
        end: datetime,
        *,
        every: Grain | timedelta,
        by: By | None = None,
        tz: tzinfo | None = None,
    ) -> Series:
        """Return the last record in each bucket.

        Raises:
            InvalidInstant: If it was not recorded in one of the buckets.
        """
        cut = begun(start, end, every, tz, conf.now(self.using))
        return in_buckets(self, cut, None if by is None else self._facet(by))

    def members(self, at: Any = None, **known: Any) -> Any:
        """Refuse: :meth:`all` has the rows that are in it now."""
        self._refuse("asked for its members; all() has the rows of now")

    def part_of_members(self, part: slice, at: Any = None, **known: Any) -> Any:
        """Refuse likewise."""
        self.members()

    def backfill(self, instants: Sequence[datetime]) -> "NoReturn":
        """Refuse: its past cannot be counted."""
        self._refuse("back-filled")

    @property
    def places(self) -> Any:
        """Refuse: it is no set of states."""
        self._refuse("measured from the log")

    @property
    def reference(self) -> Any:
        """Refuse: it has no stock field."""
        self._refuse("measured from the log")

    @property
    def states(self) -> Any:
        """Refuse: it is no set of states."""
        self._refuse("measured from the log")

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidMeasure(
            f"Stock {self.slug!r} is sampled and cannot be {what}: it has no log, only its count "
            "of now and its records. Give it states of a stock field, narrowed by declared facets "
            "at most, to make it exact."
        )

    def _facet(self, by: By) -> By:
        found = [one for one in self.facets if by in (one, facet_of(one), slug_of(one))]
        if not found:
            known = ", ".join(map(slug_of, self.facets)) or "none"
            raise InvalidDeclaration(
                f"Stock {self.slug!r} is sampled and was declared without the facet {by!r} (it "
                f"has: {known}): add it to facets=, to be recorded from then on."
            )
        return found[0]

    def _split(self, by: By) -> dict[Any, int]:
        facet, prefix = by if isinstance(by, tuple) else (by, "")
        path = facet.path(prefix)  # type: ignore[union-attr]  # checked when it was declared
        rows = self.all().order_by().values_list(path).annotate(number=CountRows("pk"))
        return dict(rows)

    def _check_splits(self) -> None:
        for by in self.facets:
            facet, prefix = by if isinstance(by, tuple) else (by, "")
            path = facet.path(prefix)  # type: ignore[union-attr]  # as above
            try:
                self._rows.values(path)
            except FieldError as error:
                raise InvalidDeclaration(
                    f"Stock {self.slug!r}: {self.subject_model._meta.label} has no {path!r} to be "
                    "split by: give the facet with the prefix that leads to it, such as "
                    '(team, "owner").'
                ) from error

    def _instant_of(self, at: datetime | None) -> datetime:
        return conf.now(self.using)

    def _counts(self, instants: Sequence[datetime]) -> list[Count]:
        parts = {
            slug_of(by): {value: n for value, n in self._split(by).items() if n}
            for by in self.facets
        }
        return [Count(self.all().count(), parts)]

    def _text_of(self, slug: str, value: Any) -> str:
        from stockflow.projections.recording import plain_text  # noqa: PLC0415  needs the app registry

        return plain_text(value)


def _rows(
    slug: str,
    reference: "StockReference | None",
    states: Iterable[str],
    where: Mapping[Any, Any],
    queryset: Any,
) -> QuerySet[Any]:
    if queryset is not None:
        if not isinstance(queryset, QuerySet) or reference is not None or states or where:
            raise InvalidDeclaration(
                f"Stock {slug!r}: queryset= is a QuerySet and stands alone; filter it instead of "
                "giving it a field, states or where=."
            )
        return queryset
    asked = checked_reference(slug, reference)
    found = rows_in(asked, checked_states(slug, asked, states), None)
    for by, given in where.items():
        try:
            found = found.filter(_condition(asked, by, given))
        except FieldError as error:
            raise InvalidDeclaration(
                f"Stock {slug!r}: {asked.model._meta.label} cannot be filtered by {by!r}: {error}"
            ) from error
    return found


def _condition(reference: "StockReference", by: Any, given: Any) -> Q:
    if is_declared(reference, by):
        return Narrowing(reference, {by: given}).of_rows()
    return Q(**{by: given})

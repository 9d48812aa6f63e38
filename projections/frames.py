"""Rows as frames of pandas and polars, which are extras: imported when asked for."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stockflow.domain.cells import NOT_RECORDED

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def with_facet(usual: tuple[str, ...], by: str | None) -> tuple[str, ...]:
    """Return the names of *usual* columns and, where rows are split, of the facet's.

    That is its lookup, or ``facet`` where one of the others is called so.
    """
    return usual if by is None else (*usual, "facet" if by in usual else by)


class Framed(Iterable[Any]):
    """Rows that turn into frames: one column for each of *columns*, times in UTC."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        return ()

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas frame; needs ``pip install django-stockflow[pandas]``."""
        with _extra("pandas"):
            import pandas as pd  # noqa: PLC0415  an extra

        return pd.DataFrame(self._by_column())

    def to_polars(self) -> "pl.DataFrame":
        """Return the rows as a polars frame; needs ``pip install django-stockflow[polars]``."""
        with _extra("polars"):
            import polars as pl  # noqa: PLC0415  an extra

        return pl.DataFrame(self._by_column(), strict=False, infer_schema_length=None)

    def _flat(self) -> list[Any]:
        """Return the rows as they are in frames."""
        return list(self)

    def _by_column(self) -> dict[str, list[Any]]:
        rows = self._flat()
        return {name: _plain([row[n] for row in rows]) for n, name in enumerate(self.columns)}


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say how to install *name* where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is not installed, and makes the frame: pip install django-stockflow[{name}]."
        ) from error


def _plain(values: list[Any]) -> list[Any]:
    """Return *values* as a column can hold them; what was not recorded makes them texts."""
    if NOT_RECORDED in values:
        return [None if value is None else str(value) for value in values]
    return [str(value) if isinstance(value, UUID) else value for value in values]

"""Querysets that refuse what would change a state without an event."""

from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from django.db import IntegrityError, models

M = TypeVar("M", bound=models.Model)


class StockflowQuerySet(models.QuerySet[M]):
    """A queryset whose bulk operations leave the stocks alone."""

    def update(self, **kwargs: Any) -> int:
        self._refuse_owned("update()", kwargs)
        return super().update(**kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], *args: Any, **kwargs: Any
    ) -> int:
        names = list(fields)
        self._refuse_owned("bulk_update()", names)
        return super().bulk_update(objs, names, *args, **kwargs)

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> NoReturn:
        raise IntegrityError(
            f"stockflow: bulk_create() of {self.model._meta.label} would create objects without "
            "their opening events. Call save() on each, in one transaction."
        )

    def _refuse_owned(self, operation: str, names: Iterable[str]) -> None:
        from stockflow.subjects import subject_of  # noqa: PLC0415  needs the models

        subject = subject_of(self.model)
        owned = {f.name for f in subject.facet_columns.values()}
        owned |= {*subject.columns, *subject.facet_columns}
        if touched := sorted(owned.intersection(names)):
            raise IntegrityError(
                f"stockflow: {operation} of {self.model._meta.label} would change "
                f"{', '.join(touched)} without an event. Call the transition, or save(), on each object."
            )


class StockflowManager(models.Manager.from_queryset(StockflowQuerySet)):  # type: ignore[misc]
    """The manager of stockflow's models; give a queryset of your own this queryset as a base."""

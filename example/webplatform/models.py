"""A feature of the web platform: how many browsers have it."""

from dateutil.relativedelta import relativedelta
from django.db import models

from stockflow.models import StockField, StockflowModel, transition


class Feature(StockflowModel):
    """Something that browsers do, such as ``api.AbortController``."""

    key = models.CharField(max_length=200, unique=True)
    name = models.CharField(max_length=200)
    group = models.CharField(max_length=100, blank=True)
    area = models.CharField(max_length=30)
    status = StockField(default="limited", facets=["area"])

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key

    @transition(status, source="limited", target="newly")
    def reach_all(self) -> None:
        """The last of the core browsers has it too."""

    @transition(status, source="newly", target="widely", after=relativedelta(months=30))
    def widen(self) -> None:
        """It has been everywhere for so long that old browsers have it: a decay."""

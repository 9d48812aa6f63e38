"""The tables of records: counts of stocks and flows that were written down, as rows."""

import json
from typing import Any

from django.db import models

from stockflow.domain.cells import NOT_RECORDED


class StockRecord(models.Model):
    """How many objects were in a stock at an instant.

    That of an exact stock equals its level at *timestamp*; that of a sampled one is what a query
    counted then, and nobody can count it again.

    Attributes:
        stock: The stock's slug.
        recorded_at: When it was worked out, which for an exact stock may be long after.
    """

    id = models.BigAutoField(primary_key=True)
    stock = models.CharField(max_length=100)
    timestamp = models.DateTimeField()
    count = models.BigIntegerField()
    is_sampled = models.BooleanField(default=False)
    recorded_at = models.DateTimeField()

    class Meta:
        app_label = "stockflow_projections"
        ordering = ["-timestamp", "stock"]
        constraints = [
            models.UniqueConstraint(fields=["stock", "timestamp"], name="stockflow_stockrecord")
        ]

    def __str__(self) -> str:
        sampled = " (sampled)" if self.is_sampled else ""
        return f"{self.stock}{sampled} at {self.timestamp:%Y-%m-%d %H:%M:%S}: {self.count:,}"


class FlowRecord(models.Model):
    """How many events a flow had from *start* on and before *end*.

    Attributes:
        flow: The flow's slug.
        recorded_at: When it was worked out.
    """

    id = models.BigAutoField(primary_key=True)
    flow = models.CharField(max_length=100)
    start = models.DateTimeField()
    end = models.DateTimeField()
    count = models.BigIntegerField()
    recorded_at = models.DateTimeField()

    class Meta:
        app_label = "stockflow_projections"
        ordering = ["-start", "-end", "flow"]
        constraints = [
            models.UniqueConstraint(fields=["flow", "start", "end"], name="stockflow_flowrecord")
        ]

    def __str__(self) -> str:
        span = f"from {self.start:%Y-%m-%d %H:%M:%S} to {self.end:%Y-%m-%d %H:%M:%S}"
        return f"{self.flow} {span}: {self.count:,}"


class FacetRecord(models.Model):
    """The part of a record that has one facet value; values without an object have no row.

    Attributes:
        facet: The facet's slug.
        value: The value as JSON; empty for what happened before the facet was declared.
        label: What to show for the value.
    """

    id = models.BigAutoField(primary_key=True)
    facet = models.CharField(max_length=100)
    value = models.TextField()
    label = models.TextField()
    count = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.facet} {self.label}: {self.count:,}"

    @property
    def facet_value(self) -> Any:
        """The value as an event keeps it: a text, number, truth value, None or ``NOT_RECORDED``."""
        return json.loads(self.value) if self.value else NOT_RECORDED


class StockFacetRecord(FacetRecord):
    """The part of a :class:`StockRecord` that has one facet value."""

    record = models.ForeignKey(StockRecord, on_delete=models.CASCADE, related_name="facets")

    class Meta(FacetRecord.Meta):
        app_label = "stockflow_projections"
        ordering = ["id"]


class FlowFacetRecord(FacetRecord):
    """The part of a :class:`FlowRecord` that has one facet value."""

    record = models.ForeignKey(FlowRecord, on_delete=models.CASCADE, related_name="facets")

    class Meta(FacetRecord.Meta):
        app_label = "stockflow_projections"
        ordering = ["id"]

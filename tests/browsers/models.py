"""The model of the second real history: which browser supports what, and how."""

from django.db import models

from stockflow.models import StockField, StockflowModel, transition


class Support(StockflowModel):
    """One feature of CSS in one browser."""

    key = models.CharField(max_length=200, unique=True)
    browser = models.CharField(max_length=30)
    status = StockField(default="full", facets=["browser"])

    @transition(status, target="flagged")
    def flag(self) -> None: ...

    @transition(status, target="renamed")
    def rename(self) -> None: ...

    @transition(status, target="partial")
    def do_partly(self) -> None: ...

    @transition(status, target="full")
    def complete(self) -> None: ...

    @transition(status, target="removed")
    def remove(self) -> None: ...

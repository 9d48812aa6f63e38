"""The short way gives the database what the long one gives it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, models
from django.utils.functional import lazystr

from stockflow.adapting import NeedsDjango, adapter_of
from tests.crm.models import Lead

LIFECYCLE = UUID("11f06eff-c6cf-4391-a121-9ee876445bcd")
NOON = datetime(2026, 3, 3, 12, 0, 0, 5, tzinfo=UTC)
OWNER: Any = Lead._meta.get_field("owner")


class Colour(models.TextChoices):
    RED = "red"


class Shouted(models.CharField):  # type: ignore[type-arg]  # Django itself has no such arguments
    """A field with a step of its own."""

    def get_prep_value(self, value: Any) -> Any:
        return str(value).upper()


CASES = [
    *((models.CharField(), value) for value in ("red", "", None, 5, Colour.RED, lazystr("red"))),
    *((models.TextField(), value) for value in ("red", Colour.RED)),
    *((models.IntegerField(), value) for value in (5, -5, None, "5", True, Decimal(5))),
    *((models.BigIntegerField(), value) for value in (2**40, None)),
    *((models.BigAutoField(primary_key=True), value) for value in (5, "5")),
    *((models.BooleanField(null=True), value) for value in (True, False, None, "True")),
    *((models.DecimalField(max_digits=9, decimal_places=2), v) for v in (Decimal("1.5"), 2, None)),
    *((models.UUIDField(), value) for value in (LIFECYCLE, LIFECYCLE.hex, None)),
    (models.DateTimeField(), NOON),
    (models.DateTimeField(), NOON.astimezone(ZoneInfo("Asia/Kathmandu"))),
    (models.DateTimeField(), NOON.isoformat()),
    (models.DateTimeField(), None),
    *((OWNER, value) for value in (5, "5", "", None)),
    (Shouted(), "red"),
]


@pytest.mark.parametrize(("field", "value"), CASES)
def test_it_prepares_as_the_field_does(field: Any, value: Any) -> None:
    """Value and type are those of ``get_db_prep_save``, whatever is given."""
    found = adapter_of(field, connection.vendor)(value, connection)
    expected = field.get_db_prep_save(value, connection)

    assert (type(found), found) == (type(expected), expected)


def test_a_naive_instant_is_warned_about() -> None:
    """It goes the long way, which says so and takes it for the default zone's."""
    naive = NOON.replace(tzinfo=None)

    with pytest.warns(RuntimeWarning, match="naive datetime"):
        found = adapter_of(models.DateTimeField(), connection.vendor)(naive, connection)
    assert found == adapter_of(models.DateTimeField(), connection.vendor)(NOON, connection)


@pytest.mark.parametrize("field", [models.IntegerField(), models.DateTimeField(), OWNER])
def test_an_expression_needs_django(field: Any) -> None:
    """What a query must work out is not taken for a value."""
    with pytest.raises(NeedsDjango):
        adapter_of(field, connection.vendor)(models.F("amount") + 1, connection)

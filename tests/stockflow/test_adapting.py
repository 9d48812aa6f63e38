"""The short way gives the database what the long one gives it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections, models
from django.db.models import functions
from django.utils.functional import lazystr

from stockflow.adapting import NeedsDjango, adapter_of
from tests.crm.models import Lead, Rep

LIFECYCLE = UUID("11f06eff-c6cf-4391-a121-9ee876445bcd")
NOON = datetime(2026, 3, 3, 12, 0, 0, 5, tzinfo=UTC)
OWNER: Any = Lead._meta.get_field("owner")


class Colour(models.TextChoices):
    RED = "red"


class Shouted(models.CharField):  # type: ignore[type-arg]  # Django itself has no such arguments
    """A field with a step of its own."""

    def get_prep_value(self, value: Any) -> Any:
        return str(value).upper()


class Doubled(models.ForeignKey):  # type: ignore[type-arg]  # as above
    """A relation with a step of its own."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return 2 * value


class Worked(models.CharField):  # type: ignore[type-arg]  # as above
    """A field that is written as an expression."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return functions.Upper(models.Value(value))


CASES = [
    *((models.CharField(), value) for value in ("red", "", None, 5, Colour.RED, lazystr("red"))),
    *((models.TextField(), value) for value in ("red", Colour.RED)),
    *((models.IntegerField(), value) for value in (5, -5, None, "5", True, Decimal(5))),
    *((models.BigIntegerField(), value) for value in (2**40, None)),
    *((models.BigAutoField(primary_key=True), value) for value in (5, "5", True)),
    *((models.BooleanField(null=True), value) for value in (True, False, None, "True")),
    *((models.DecimalField(max_digits=9, decimal_places=2), v) for v in (Decimal("1.5"), 2, None)),
    *((models.UUIDField(), value) for value in (LIFECYCLE, LIFECYCLE.hex, None)),
    (models.DateTimeField(), NOON),
    (models.DateTimeField(), NOON.astimezone(ZoneInfo("Asia/Kathmandu"))),
    (models.DateTimeField(), NOON.isoformat()),
    (models.DateTimeField(), None),
    *((OWNER, value) for value in (5, "5", "", None)),
    (Shouted(), "red"),
    (Doubled(Rep, models.CASCADE), 5),
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


def test_another_zone_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it keeps without a zone it keeps as its own wall clock shows it."""
    field, zone = models.DateTimeField(), ZoneInfo("Asia/Kathmandu")
    monkeypatch.setitem(connections["default"].__dict__, "timezone", zone)
    found = adapter_of(field, connection.vendor)(NOON, connection)

    assert found == field.get_db_prep_save(NOON, connection)


@pytest.mark.parametrize("field", [models.IntegerField(), models.DateTimeField(), OWNER])
@pytest.mark.parametrize("value", [models.F("amount") + 1, models.F("amount"), Rep(pk=1)])
def test_an_expression_needs_django(field: Any, value: Any) -> None:
    """What a query must work out is not taken for a value; nor is an object, for its key."""
    with pytest.raises(NeedsDjango):
        adapter_of(field, connection.vendor)(value, connection)


def test_a_field_that_is_an_expression_needs_django() -> None:
    """Its value is one, made of the plain value."""
    with pytest.raises(NeedsDjango):
        adapter_of(Worked(), connection.vendor)("red", connection)

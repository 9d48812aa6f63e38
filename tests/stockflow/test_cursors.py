"""The cursor of a save says to SQLite what Django's own would say."""

from typing import Any

import pytest
from django.db import connection

from stockflow.saving.cursors import remembering


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT %s, '%%s', 5 %% %s", ["a", 3]),
        ("SELECT %(name)s, %(name)s", {"name": "b"}),
        ("SELECT '%s'", None),
    ],
)
def test_each_style_is_read_as_django_reads_it(sql: str, values: Any) -> None:
    """Positional, named and no parameters; again, when the text is known already."""
    with connection.cursor() as plain, connection.cursor() as cursor:
        plain.execute(sql, values)
        expected = plain.fetchall()
        for _ in range(2):
            remembering(cursor).execute(sql, values)
            assert cursor.fetchall() == expected


@pytest.mark.django_db
def test_a_cursor_that_reads_statements_in_its_own_way_keeps_it() -> None:
    """A backend built on Django's may have another way."""

    class Reading:
        def convert_query(self, query: str, *, param_names: Any = None) -> Any: ...

    class Wrapper:
        cursor = Reading()

    remembering(Wrapper())

    assert "convert_query" not in vars(Wrapper.cursor)

"""Migrations build what the models say."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """``makemigrations`` would write nothing, for our apps and those of the tests."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)

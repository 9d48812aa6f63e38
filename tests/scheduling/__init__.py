"""Decay and the periodic schedule, as whole suites."""

import pytest

pytest.register_assert_rewrite("tests.scheduling.cases")

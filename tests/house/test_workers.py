"""Tests that share what is costly are kept together."""

import pytest

from tests import workers
from tests.house import source


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tests/web/test_browser.py::test_a", "tests/web/test_browser.py::test_b[x]"),
        (
            "tests/example/test_real_data.py::test_a[bcd_css]",
            "tests/example/test_real_data.py::test_b[bcd_css]",
        ),
        (
            "tests/projections/test_real_data.py::test_a[baseline]",
            "tests/projections/test_real_data.py::test_b[baseline-merged]",
        ),
    ],
)
def test_together(one: str, other: str) -> None:
    """Of one module, and of one data set where the module has two."""
    assert workers.together(one) == workers.together(other)


@pytest.mark.parametrize(
    "other",
    [
        "tests/example/test_real_data.py::test_a[bcd_css]",
        "tests/projections/test_real_data.py::test_a[baseline]",
        "tests/domain/test_cells.py::test_a[baseline]",
    ],
)
def test_apart(other: str) -> None:
    """All others go where there is time."""
    assert workers.together("tests/example/test_real_data.py::test_a[baseline]") != (
        workers.together(other)
    )


def test_what_is_kept_together_is_there() -> None:
    """A module that is renamed is renamed there too."""
    tests = source.ROOT.glob("tests/*/test_*.py")
    names = [f"{source.name(path)}::test_a[{data}]" for path in tests for data in ("baseline", "x")]
    kept = {name.partition("::")[0] for name in names if workers.together(name) != name}

    assert len(kept) == 5

"""The examples in docstrings run."""

import doctest

import pytest

from tests.house import source

FINDER = doctest.DocTestFinder(exclude_empty=True)
EXAMPLES = [
    example
    for module in source.modules()
    for example in FINDER.find(module, module.__name__)  # by dotted name: no second copy
    if example.examples
]


@pytest.mark.django_db
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_docstring(example: doctest.DocTest) -> None:
    """What a docstring shows is what happens."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(example, out=report.append, clear_globs=False)

    assert result.failed == 0, "".join(report)


def test_there_are_examples() -> None:
    """The test above has something to run."""
    assert EXAMPLES

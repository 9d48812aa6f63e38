"""Run the session of a text under the example's settings, in an empty database of its own.

``python -m tests.docs.session README.md`` prints what is not as the text shows, and fails if
anything is. It is a process of its own since the tests have another project's settings.
"""

import doctest
import os
import re
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def code(name: str) -> str:
    """Return the text's ``pycon`` blocks, those in comments too, as one session."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"(?:```|<!--)pycon\n(.*?)(?:```|-->)", text, re.DOTALL))


def run(name: str) -> doctest.TestResults:
    """Run the session and print what differs."""
    from stockflow.testing import clock

    for module in (
        "models",
        "projections",
        "stocks",
    ):  # under the names that a reader's own project has
        sys.modules[f"crm.{module}"] = import_module(f"example.crm.{module}")
    with clock(START) as time:
        test = doctest.DocTestParser().get_doctest(code(name), {"time": time}, name, name, 0)
        return doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)


def main() -> None:
    """Run the session in a database made for it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "example.settings"
    import django
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    django.setup()
    if connection.vendor == "postgresql":  # the tests have the usual name
        connection.settings_dict["TEST"]["NAME"] = f"test_readme_{os.getpid()}"
    before = setup_databases(verbosity=0, interactive=False)
    try:
        result = run(sys.argv[1])
    finally:
        teardown_databases(before, verbosity=0)
    sys.exit(result.failed or not result.attempted)


if __name__ == "__main__":
    main()

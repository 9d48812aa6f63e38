"""django-unfold: its templates take the admin's place, so it has a process of its own."""

import subprocess
import sys

from tests.house import source
from tests.web.test_browser import has_browser


def test_in_unfold() -> None:
    """Each of ``tests/unfold/cases.py`` holds, in its own settings."""
    command = (
        *(sys.executable, "-m", "pytest", "--ds", "tests.unfold.settings", "-q"),
        # Warnings are unfold's own affair; this process has its own database.
        *("-n", "0", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "--create-db"),
        "tests/unfold/cases.py",
    )
    done = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert ("11 passed" if has_browser() else "7 passed, 4 skipped") in done.stdout

#!/usr/bin/env python
"""Run a management command of the example."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Make the repository importable, whatever the working directory, and run the command."""
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  needs the two lines above

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: it goes on where it stopped.", file=sys.stderr)  # noqa: T201  a command speaks
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: what was cut off halfway would be put in order on a connection that is closed.
        os._exit(130)

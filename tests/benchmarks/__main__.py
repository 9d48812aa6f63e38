"""``python -m tests.benchmarks [--small] [--database sqlite|postgresql]``."""

import argparse
import sys

from tests.benchmarks.databases import DATABASES, each, made


def main() -> int:
    """Measure, print, and return how many databases missed a target."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--small", action="store_true", help="under a minute, with wider bounds")
    sizes.add_argument("--tiny", action="store_true", help="only that it runs: no bounds at all")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    options = parser.parse_args()
    if options.database:
        return _run(options.database, small=options.small, tiny=options.tiny)
    return each("tests.benchmarks")


def _run(name: str, *, small: bool, tiny: bool) -> int:
    with made(name):
        from tests.benchmarks import report, rounds

        size = rounds.TINY if tiny else rounds.SMALL if small else rounds.FULL
        modes = rounds.measure(size)
    noise = report.NOISE if small else 0.0
    failures: list[str] = []
    for mode, medians in modes.items():
        where = f"{name}, {mode}"
        print("", *report.table(where, medians), sep="\n")
        failures += [] if tiny else report.missed(where, medians, noise)
    print("", *failures, sep="\n", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

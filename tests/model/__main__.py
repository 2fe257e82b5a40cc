"""`make model`: explores all configurations, also those that take long, and prints what came of each."""

from __future__ import annotations

import sys

from model.run import Run
from model.table import CASES


def main() -> int:
    """Print the table; 1 where anything is other than it should be."""
    wrong = []
    with Run(CASES) as run:
        for line in run.table():
            print(line, flush=True)
        for case in CASES:
            verdict = run.verdict(case)
            if (verdict.violated is None) == bool(case.refutes):
                wrong.append(f"{case.configuration}: {verdict.violated or f'holds; it should not: {case.refutes}'}")
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

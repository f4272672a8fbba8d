"""Demand 98 % of branches: ``python -m test.branches``, after ``coverage combine``.

What ``coverage report`` demands is of lines and branches together, of which most are lines.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

LEAST = 98.0


def count() -> tuple[int, int]:
    """Return how many branches have been reached, and how many there are."""
    measured = Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "coverage.json")
        measured.json_report(outfile=str(report))
        totals = json.loads(report.read_text())["totals"]
    return totals["covered_branches"], totals["num_branches"]


def main() -> None:
    reached, all_of_them = count()
    percent = 100 * reached / all_of_them
    print(f"branches alone: {reached} of {all_of_them}, {percent:.1f} %")
    if percent < LEAST:
        sys.exit(f"that is less than {LEAST} %")


if __name__ == "__main__":
    main()

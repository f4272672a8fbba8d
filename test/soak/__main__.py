"""``python -m test.soak``: exit status 1 if the server does not stay as it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from test.soak import report
from test.soak.crowd import Plan
from test.soak.run import soak
from ws4py._serve import SERVERS

#: wsgiref takes one handshake at a time: those that are broken off would hold up all others.
ENGINES = sorted(SERVERS.keys() - {"wsgiref"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m test.soak", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="standalone")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="the plot goes beside it")
    for field in fields(Plan):
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default, metavar="N")
    options = vars(parser.parse_args(arguments))
    engine, path = options.pop("engine"), options.pop("report")
    try:
        outcome = soak(Plan(**options), engine)
    except pytest.skip.Exception as reason:
        print(f"not run: {reason}", file=sys.stderr)
        return 2
    if path:
        report.write(outcome, path)
    print(report.summary(outcome))
    return 1 if outcome.complaints else 0


if __name__ == "__main__":
    sys.exit(main())

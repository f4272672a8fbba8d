"""Let atheris look for inputs that a target does not like, guided by what they cover.

``python -m test.fuzz.guided TARGET SECONDS [SEED]`` begins with the corpus. What it finds to
cover more goes to ``.fuzz/TARGET``, and what fails to ``.fuzz/TARGET-…``; the exit status then is
not 0. ``python -m test.fuzz.guided TARGET FILE`` runs a single input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

# The reference parser is covered too: what is new to it is of interest.
with atheris.instrument_imports(include=["ws4py", "test.fuzz"]):
    from .targets import CORPUS, TARGETS

# Bytes of the largest input. A small one says more, and is had sooner.
MAX_LENGTH = {
    "extensions": 300,
    "inflate": 300,
    "stream": 600,
    "request": 900,
    "response": 900,
    "lists": 300,
    "url": 200,
    "length": 400,
}


def main(target: str, what: str, seed: str = "0") -> None:
    """Run a target, for a number of seconds or on one file. Does not return."""
    options = ["-timeout=60", "-rss_limit_mb=1024", "-print_final_stats=1"]
    if what.isdecimal():
        found = Path(".fuzz", target)
        found.mkdir(parents=True, exist_ok=True)
        options += [
            f"-max_total_time={what}",
            f"-seed={seed}",
            f"-max_len={MAX_LENGTH[target]}",
            f"-artifact_prefix={found}-",
            str(found),
            str(CORPUS / target),
        ]
    else:
        options.append(what)
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the tests need that run wstest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from . import wstest

SETUP = Path(__file__).with_name("setup.sh")


@pytest.fixture(scope="session")
def program() -> Path:
    """Return wstest's path; set it up first, unless $WSTEST says where it is."""
    if not os.environ.get("WSTEST"):
        _set_up()
    return wstest.find()


def _set_up() -> None:
    """Skip where there is no Python 2.7, but never on CI: nobody would notice."""
    made = subprocess.run(
        ["sh", str(SETUP), str(wstest.DEFAULT.parents[1])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode == 3 and os.environ.get("CI") != "true":
        pytest.skip(made.stdout.strip())
    if made.returncode:
        pytest.fail(f"setup.sh ended with {made.returncode}: {made.stdout}", pytrace=False)

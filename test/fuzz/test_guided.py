"""The targets of the guided fuzz, on their corpus; and a short run of the guided fuzz itself."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .targets import TARGETS, corpus, replay

PROJECT = Path(__file__).resolve().parents[2]
SEED = os.environ.get("WS4PY_FUZZ_SEED", "6455")
SECONDS = int(os.environ.get("WS4PY_FUZZ_SECONDS", "10"))

# As in pyproject.toml: where atheris has a wheel.
HAS_ATHERIS = (
    sys.platform == "linux"
    and platform.machine() == "x86_64"
    and platform.python_implementation() == "CPython"
    and (3, 11) <= sys.version_info < (3, 14)
)


@pytest.mark.parametrize("path", corpus(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_target_has_no_complaint_about(path: Path) -> None:
    replay(path)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_has_a_small_corpus(target: str) -> None:
    sizes = [path.stat().st_size for path in corpus() if path.parent.name == target]
    assert len(sizes) >= 20
    assert sum(sizes) < 32 * 1024


@pytest.mark.fuzz
@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris has no wheel for this Python or machine")
@pytest.mark.parametrize("target", TARGETS)
def test_the_guided_fuzz_finds_nothing_in(target: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "test.fuzz.guided", target, str(SECONDS), SEED]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert runs is not None and int(runs[1]) >= 50

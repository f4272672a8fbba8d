"""Demand that each module of the core is covered by its own tests: ``python -m test.own_coverage``.

The tests of a module are ``test_<module>.py`` and ``test_<module>_*.py``. They run alone, in pure
Python, and have to reach each line and each branch of it. Names of modules, as arguments, choose
some. What is left out is what runs on another system or another Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from test.test_layers import LAYERS, PACKAGE, PROJECT, ROOT, modules

LAST_LAYER = 4


def core() -> list[str]:
    """The modules of the core, the lowest first."""
    found = modules()
    return [name for name in sorted(LAYERS, key=LAYERS.__getitem__) if is_core(name, found)]


def is_core(name: str, found: dict[str, str]) -> bool:
    return name in found and LAYERS[name] < LAST_LAYER + 1


def tests_of(module: str) -> list[Path]:
    name = "root" if module == ROOT else module.lstrip("_")
    folder = PROJECT / "test"
    return sorted([*folder.glob(f"test_{name}.py"), *folder.glob(f"test_{name}_*.py")])


def measure(module: str, pytest_args: list[str]) -> bool:
    """Run the tests of a module, print what they do not reach, and say whether that is nothing."""
    source = PACKAGE / f"{'__init__' if module == ROOT else module}.py"
    tests = tests_of(module)
    if not tests:
        print(f"{source.name} has no tests of its own")
        return False
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "WS4PY_PURE": "1", "COVERAGE_FILE": f"{folder}/coverage"}

        def coverage(*arguments: object) -> bool:
            command = [sys.executable, "-m", "coverage", *map(str, arguments)]
            return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode == 0

        passed = coverage("run", "-m", "pytest", "--quiet", *pytest_args, *tests)
        coverage("combine", "--quiet")
        covered = coverage("report", f"--include={source}", "--fail-under=100")
    return passed and covered


def main() -> None:
    options = [each for each in sys.argv[1:] if each.startswith("-")]
    chosen = [each for each in sys.argv[1:] if not each.startswith("-")] or core()
    lacking = [module or "ws4py" for module in chosen if not measure(module, options)]
    sys.exit(f"not covered by their own tests: {', '.join(lacking)}" if lacking else 0)


if __name__ == "__main__":
    main()

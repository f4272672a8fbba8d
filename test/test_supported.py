"""What is stated of Pythons, engines and workflows in several places is the same in all of them."""

from __future__ import annotations

import configparser
import re
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]


def text(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def oldest() -> dict[str, str]:
    """The releases of test/oldest.txt, by the names of their packages."""
    lines = [line for line in text("test/oldest.txt").splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    return {name.lower(): release for name, release in pins.items()}


def short(release: str) -> str:
    """Return a release without the zeros at its end, as it is written as a bound."""
    return re.sub(r"(\.0)+$", "", release)


def test_lower_bounds_are_the_oldest_releases_that_are_tested() -> None:
    bounds = {
        name.lower(): short(release)
        for name, release in re.findall(r'"([A-Za-z]+)>=([\d.]+)[",;]', text("pyproject.toml"))
        if name.lower() in oldest()
    }
    assert bounds == {name: short(release) for name, release in oldest().items()}


def test_the_documentation_lists_the_oldest_releases() -> None:
    page = text("docs/howto/engines.md")
    section = page.partition("## Supported releases")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Za-z]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    assert {name.lower(): release for name, release, _ in rows} == oldest()
    for name, release, newest in rows:
        older, newer = ([int(part) for part in each.split(".")] for each in (release, newest))
        assert older <= newer, name


def test_every_python_is_stated_everywhere() -> None:
    project = text("pyproject.toml")
    classified = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    assert classified == PYTHONS
    assert 'requires-python = ">=3.9"' in project
    assert re.findall(r'"cp3(\d+)-\*"', project) == [each[2:] for each in PYTHONS]
    tox = configparser.ConfigParser()
    tox.read(PROJECT / "tox.ini")
    assert "py3{9,10,11,12,13}-{pure,compiled}" in tox["tox"]["env_list"]
    for python in PYTHONS:
        assert f"3.{python[2:]}" in text(".github/workflows/ci.yml")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="metadata of editable installs differ")
def test_the_core_depends_on_nothing() -> None:
    assert "\ndependencies = []" in text("pyproject.toml")
    try:
        needed = requires("ws4py") or []
    except PackageNotFoundError:
        pytest.skip("ws4py is not installed")
    assert all("extra ==" in each for each in needed)


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_a_workflow_can_be_read_and_names_targets_that_there_are(name: str) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is for development")
    jobs = yaml.safe_load(text(f".github/workflows/{name}"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {target for command in commands for target in re.findall(r"\bmake ([a-z-]+)", command)}
    assert named <= targets
    for command in commands:
        if command.startswith("."):
            assert (PROJECT / command).is_file()


def test_every_target_that_is_for_people_is_described() -> None:
    makefile = text("Makefile")
    phony = re.findall(r"[a-z-]+", makefile.partition(".PHONY:")[2].partition("\n\n")[0])
    described = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert set(phony) - set(described) == {"peers", "wstest"}
    assert set(described) <= set(phony)

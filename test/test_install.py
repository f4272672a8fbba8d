"""Packages: what is in them, and that they install with a C compiler and without."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from test.autobahn.processes import accepts, free_port
from test.helpers import eventually
from test.test_cli import Program

PROJECT = Path(__file__).resolve().parent.parent
SECONDS = 200.0
FILES = ("LICENSE", "Makefile")
FOLDERS = ("ws4py", "speedups", "test", "docs", "example", "benchmark", ".github", ".ci")
AT = "https://example.com/someone/ws4py/blob/main/"
SOURCE = {"WS4PY_SOURCE_URL": AT}

#: Prints how the installed ws4py masks, after it has parsed and built something.
REPORT = """
from ws4py import framing, masking, messaging
frame = framing.encode_frame(0x81, b"Hello", bytes.fromhex("37fa213d"))
assert frame == bytes.fromhex("818537fa213d7f9f4d5158"), frame
classes = messaging.TextMessage, messaging.BinaryMessage
[message], pos = framing.take_messages(frame, 0, True, 5, *classes)
assert (str(message), pos) == ("Hello", 11)
print(masking.__file__, "compiled" if masking.speedups else "pure")
"""


def has_setuptools() -> bool:
    """Say whether the setuptools that builds is here: tests download nothing."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.skipif(not has_setuptools(), reason="setuptools 77 is not installed"),
    pytest.mark.skipif(
        platform.python_implementation() != "CPython", reason="nothing is compiled here"
    ),
]


def run(*command: object, cwd: Path, **changes: str) -> str:
    """Run a program to its end; return all that it prints."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC")}
    env.pop("WS4PY_PURE", None)
    ran = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the sdist, of a copy: what is built in the tree would be found there by others."""
    tree = tmp_path_factory.mktemp("tree")
    for path in PROJECT.iterdir():
        if path.suffix in (".py", ".toml", ".md", ".in", ".ini") or path.name in FILES:
            shutil.copy(path, tree)
    ignored = shutil.ignore_patterns("__pycache__", "*.so", ".venv*", "node_modules", "build")
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, tree / name, ignore=ignored)
    (tree / "ws4py" / "_speedups.abi3.so").touch()
    (tree / "dist").mkdir()
    run(sys.executable, "setup.py", "sdist", "--formats=gztar", cwd=tree, **SOURCE)
    [sdist] = (tree / "dist").iterdir()
    return sdist


def build_wheel(sdist: Path, folder: Path, **changes: str) -> tuple[Path, str]:
    """Build the wheel, with the setuptools that is here; return it and what was logged."""
    pip = (sys.executable, "-m", "pip", "wheel", "--verbose", "--no-index", "--no-deps")
    log = run(*pip, "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder, **changes)
    [wheel] = folder.glob("*.whl")
    return wheel, log


def install(wheel: Path, folder: Path) -> str:
    """Install a wheel into an empty environment; return what REPORT prints there."""
    python = folder / "environment" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", python.parent.parent, cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps")
    run(*pip, wheel, cwd=folder)
    file, how = run(python, "-c", REPORT, cwd=folder).split()
    assert Path(file).is_relative_to(python.parent.parent)
    return how


def compiled_files(names: list[str]) -> list[str]:
    return sorted(re.sub(r"\..*(?=\.)", "", name) for name in names if "_speedups" in name)


def test_the_sdist_has_the_source_in_c_and_its_types(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    source = {f"speedups/{path.name}" for path in (PROJECT / "speedups").iterdir()}
    assert {*source, "ws4py/_speedups.pyi", "ws4py/py.typed", "setup.py"} <= {*names}
    assert not [name for name in names if name.endswith((".so", ".pyd"))]


def test_the_sdist_has_what_its_unit_tests_need_and_nothing_that_was_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    told = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "tox.ini"}
    tests = {str(path.relative_to(PROJECT)) for path in (PROJECT / "test").glob("test_*.py")}
    others = {"test/oldest.txt", "example/static/chat.js", "docs/conf.py", "docs/howto/tls.md"}
    assert {*told, *tests, *others} <= {*names}
    wrong = re.compile(r"(^|/)(\.venv|dist|build|node_modules|__pycache__|\.wstest)(/|$)|\.pyc$")
    assert not [name for name in names if wrong.search(name)]


def test_the_sdist_has_each_file_of_its_folders_that_git_has(sdist: Path) -> None:
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("this is no clone of the repository")
    # In a container the clone may be somebody else's.
    git = ("git", "-c", "safe.directory=*", "ls-files", "-z")
    listed = run(*git, *FOLDERS, cwd=PROJECT).split("\0")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "benchmark/load/load.c" in listed
    assert [name for name in listed if name and name not in names] == []


def test_the_tests_of_the_sdist_run(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    [tree] = tmp_path.iterdir()
    pytest_args = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test/test_masking.py")
    assert " passed" in run(sys.executable, *pytest_args, cwd=tree)


def metadata(wheel: Path) -> str:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
    return archive.read(name).decode()


@pytest.mark.parametrize("environ", [SOURCE, {}], ids=["at an address", "nowhere"])
def test_links_on_the_page_of_a_package_index_lead_somewhere(
    sdist: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """There are no files beside the README."""
    wheel, _ = build_wheel(sdist, tmp_path, WS4PY_PURE="1", **environ)
    text = metadata(wheel)
    assert "Description-Content-Type: text/markdown" in text
    links = re.findall(r"(?<=\]\()[^)\s]+(?=\))", re.sub(r"```.*?```", "", text, flags=re.S))
    assert links
    assert not [link for link in links if not link.startswith(("https://", "http://"))]
    assert "docs/conformance.md" in text
    assert (f"{AT}docs/benchmarks-summary.svg?raw=true" in links) is bool(environ)
    urls = ["Source, https://example.com/someone/ws4py", f"Changelog, {AT}CHANGELOG.md"]
    found = re.findall(r"^Project-URL: (.*)$", text, re.MULTILINE)
    assert found == (urls if environ else [])


def test_the_wheel_in_pure_python_is_for_every_system_and_runs_the_first_example(
    sdist: Path, tmp_path: Path
) -> None:
    """In an environment with nothing else: the core needs the standard library alone."""
    wheel, _ = build_wheel(sdist, tmp_path, WS4PY_PURE="1", CC="/bin/false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert install(wheel, tmp_path) == "pure"
    requires = re.findall(r"^Requires-Dist: (.*)$", metadata(wheel), re.MULTILINE)
    assert requires
    assert all("extra ==" in each for each in requires)
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    program = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    port = free_port()
    (tmp_path / "shout.py").write_text(program.replace("9000", str(port)), encoding="utf-8")
    python = str(tmp_path / "environment" / "bin" / "python")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with Program("shout.py", cwd=tmp_path, env=env, executable=python) as server:
        eventually(lambda: accepts(port) or server.process.poll() is not None)
        assert server.process.poll() is None, server.errors
        talk = [python, "-m", "ws4py", "connect", f"ws://localhost:{port}/"]
        said = subprocess.run(
            talk, input=b"hello\n", stdout=subprocess.PIPE, cwd=tmp_path, env=env,
            timeout=SECONDS, check=True,
        )  # fmt: skip
        assert b"HELLO" in said.stdout
        server.end(signal.SIGTERM)


def test_with_a_compiler_the_compiled_module_is_installed(sdist: Path, tmp_path: Path) -> None:
    wheel, _ = build_wheel(sdist, tmp_path)
    files = compiled_files(zipfile.ZipFile(wheel).namelist())
    assert files == ["ws4py/_speedups.pyi", "ws4py/_speedups.so"]
    assert install(wheel, tmp_path) == "compiled"


def test_without_a_compiler_it_installs_all_the_same(sdist: Path, tmp_path: Path) -> None:
    wheel, log = build_wheel(sdist, tmp_path, CC="/bin/false")
    told = [line for line in log.splitlines() if "failed" in line]
    assert len(told) == 1, log
    assert 'building extension "ws4py._speedups" failed' in told[0]
    assert compiled_files(zipfile.ZipFile(wheel).namelist()) == ["ws4py/_speedups.pyi"]
    assert install(wheel, tmp_path) == "pure"

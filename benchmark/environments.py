"""Where the compared programs run: what is installed or compiled for them, and its versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
LOAD, LOAD_TLS = BUILD / "load", BUILD / "load-tls"
CERTIFICATE = BUILD / "certificate.pem"
#: Python finds its own packages only, and not this tree, which is a ws4py too.
ISOLATED = "-I"


class Unavailable(Exception):
    """Something cannot be installed or compiled here; the text says why."""


def run(command: Sequence[str], what: str) -> None:
    """Run a command that makes ``what``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise Unavailable(f"{what}: {exc}") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Unavailable(f"{what}: {said[-1]}")


class Environment(Protocol):
    """What can be given packages, and tells their versions."""

    def install(self, packages: Sequence[str]) -> None:
        """Install what is missing; raise Unavailable where that cannot be done."""

    def version(self, package: str) -> str:
        """Return the version of a package, "" if there is none."""


class Venv(NamedTuple):
    """An environment of Python; where ``python_version`` is "", of the Python that runs this."""

    directory: Path
    python_version: str = ""

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    def install(self, packages: Sequence[str]) -> None:
        missing = [p for p in packages if not self.version(p)]
        if not self.python.exists():
            base = find_python(self.python_version) if self.python_version else sys.executable
            run([base, "-m", "venv", str(self.directory)], "an environment")
        if missing:
            pip = [str(self.python), ISOLATED, "-m", "pip", "install", "--quiet"]
            run([*pip, "--disable-pip-version-check", *missing], ", ".join(missing))

    def version(self, package: str) -> str:
        return version_by(self.python, package)


class Own:
    """The environment that this runs in. Extras of ws4py are for its user to install."""

    def install(self, packages: Sequence[str]) -> None:
        missing = [package for package in packages if not self.version(package)]
        if missing:
            raise Unavailable(f"not installed: {', '.join(missing)}")

    def version(self, package: str) -> str:
        return version_by(Path(sys.executable), package)


class Node(NamedTuple):
    """A folder of packages for Node."""

    directory: Path

    @property
    def modules(self) -> Path:
        return self.directory / "node_modules"

    def install(self, packages: Sequence[str]) -> None:
        if shutil.which("node") is None:
            raise Unavailable("there is no Node")
        missing = [package for package in packages if not self.version(package)]
        if missing:
            npm = ["npm", "install", "--prefix", str(self.directory), "--no-package-lock"]
            run([*npm, "--no-audit", "--no-fund", *missing], ", ".join(missing))

    def version(self, package: str) -> str:
        manifest = self.modules / package / "package.json"
        if not manifest.exists():
            return ""
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
        found = json.loads(manifest.read_text())["version"]
        return f"{found} (Node {node.stdout.strip().lstrip('v')})"


class Compiled:
    """Programs in C: a package is a source in the folder ``servers``."""

    def install(self, packages: Sequence[str]) -> None:
        for package in packages:
            sources = [HERE / "servers" / package, HERE / "load" / "accept.c"]
            compile_c(BUILD / Path(package).stem, sources)

    def version(self, package: str) -> str:
        return ""


def find_python(version: str) -> str:
    """Return the path of a Python of this minor version."""
    found = shutil.which(f"python{version}")
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if found is None and not installed:
        raise Unavailable(f"there is no Python {version}")
    return str(installed[-1]) if installed else str(found)


def version_by(python: Path, package: str) -> str:
    """Ask a Python for the version of a package."""
    if not python.exists():
        return ""
    name = package.partition("==")[0]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run(
        [str(python), ISOLATED, "-c", code], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def compile_c(target: Path, sources: Iterable[Path], *options: str) -> None:
    """Compile ``target`` unless it is newer than all of its sources."""
    sources = list(sources)
    newest = max(source.stat().st_mtime for source in sources)
    if target.exists() and target.stat().st_mtime > newest:
        return
    target.parent.mkdir(exist_ok=True)
    units = [str(source) for source in sources if source.suffix == ".c"]
    compiler = [os.environ.get("CC", "cc"), "-O2", "-std=gnu11"]
    run([*compiler, "-o", str(target), *units, *options], target.name)


def build_load(tls: bool) -> None:
    """Compile the load generator; for TLS, which needs OpenSSL, also that and a certificate."""
    sources = list((HERE / "load").iterdir())
    compile_c(LOAD, sources)
    if tls:
        compile_c(LOAD_TLS, sources, "-DTLS", "-lssl", "-lcrypto")
        make_certificate()


def make_certificate() -> None:
    """Write a certificate for a week, with its key behind it."""
    key = BUILD / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    request += ["-nodes", "-days", "7", "-subj", "/CN=localhost"]
    run([*request, "-keyout", str(key), "-out", str(CERTIFICATE)], "a certificate")
    with CERTIFICATE.open("a") as file:
        file.write(key.read_text())

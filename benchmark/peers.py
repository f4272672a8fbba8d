"""The servers that are compared, and what has to be built or installed for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = HERE / "build"
VENV = HERE / ".venv"
PEER_PYTHON = VENV / "bin" / "python"
SERVERS_DIR = HERE / "servers"
LOAD = BUILD / "load"


class Server(NamedTuple):
    """An echo server: ``command`` is started with {port} filled in."""

    command: tuple[str, ...]
    raw: bool = False  # echoes TCP, not WebSocket messages
    package: str = ""  # what it needs in the environment of the peers
    source: str = ""  # what has to be compiled for it


#: Each is the plain echo of its own documentation, without any tuning.
SERVERS = {
    "ws4py": Server((sys.executable, "-m", "ws4py", "serve", "--port", "{port}")),
    "websockets": Server(
        (str(PEER_PYTHON), str(SERVERS_DIR / "websockets_asyncio.py"), "{port}"),
        package="websockets",
    ),
    "tcp-python": Server(
        (sys.executable, str(SERVERS_DIR / "tcp_epoll.py"), "{port}"),
        raw=True,
    ),
    "tcp-c": Server((str(BUILD / "tcp_echo"), "{port}"), raw=True, source="tcp_echo.c"),
}


def compile_c(target: Path, sources: Iterable[Path]) -> None:
    """Compile ``target`` unless it is newer than all of its sources."""
    sources = list(sources)
    newest = max(source.stat().st_mtime for source in sources)
    if target.exists() and target.stat().st_mtime > newest:
        return
    target.parent.mkdir(exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    units = [str(source) for source in sources if source.suffix == ".c"]
    subprocess.run([compiler, "-O2", "-std=gnu11", "-o", str(target), *units], check=True)


def build_load() -> None:
    """Compile the load generator."""
    compile_c(LOAD, (HERE / "load").iterdir())


def installed_version(package: str) -> str:
    """Return the version of ``package`` among the peers, "" if it is not installed."""
    if not PEER_PYTHON.exists():
        return ""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([str(PEER_PYTHON), "-c", code], capture_output=True, text=True)
    return done.stdout.strip()


def install(package: str) -> None:
    """Install ``package`` into the environment of the peers, which is made when missing."""
    if installed_version(package):
        return
    if not PEER_PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(PEER_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, package], check=True)


def prepare(names: Iterable[str]) -> None:
    """Build and install what these servers and the load generator need."""
    build_load()
    for server in map(SERVERS.__getitem__, names):
        if server.source:
            compile_c(Path(server.command[0]), [SERVERS_DIR / server.source])
        if server.package:
            install(server.package)


def ws4py_version() -> str:
    """Return ws4py's version and where its mask comes from, "" if it cannot be imported."""
    code = (
        "import ws4py; from ws4py.masking import mask; "
        "print(f'{ws4py.__version__} (mask: {mask.__module__}.{mask.__qualname__})')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()

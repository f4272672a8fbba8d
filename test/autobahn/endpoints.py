"""The servers and clients of ws4py under test, and the versions that their results depend on.

In a command {python}, {port}, {url} and {agent} are replaced; it runs in the project's root folder.
"""

from __future__ import annotations

import platform
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ws4py import __version__

SERVER = "server"
CLIENT = "client"


@dataclass(frozen=True)
class Endpoint:
    """A server or a client under test."""

    role: str
    name: str
    command: str
    packages: tuple[str, ...] = ()  # of its engine

    @property
    def agent(self) -> str:
        """The name under which wstest reports on it."""
        return f"{self.name}-{self.role}"

    @property
    def title(self) -> str:
        """Its name for readers."""
        return f"{self.name} {self.role}"


GUNICORN = "{python} -m gunicorn --config python:test.apps.gunicorn_conf --bind 127.0.0.1:{port}"
SERVE = "{python} -m ws4py serve --port {port} --compression deflate"
COROUTINES = "ws4py.async_websocket:EchoWebSocket"


def _served(name: str, *packages: str) -> Endpoint:
    return Endpoint(SERVER, name, f"{SERVE} --engine {name}", packages)


def _client(name: str, *packages: str) -> Endpoint:
    command = f"{{python}} -m test.autobahn.client {name} {{url}} {{agent}}"
    return Endpoint(CLIENT, name, command, packages)


ENDPOINTS = (
    _served("standalone"),
    _served("wsgiref"),
    _served("cherrypy", "CherryPy", "cheroot"),
    _served("gevent", "gevent"),
    _served("tornado", "tornado"),
    _served("asyncio"),
    Endpoint(SERVER, "asyncio-coroutines", f"{SERVE} --engine asyncio {COROUTINES}"),
    Endpoint(SERVER, "uvloop", "{python} -m test.autobahn.server_uvloop {port}", ("uvloop",)),
    Endpoint(
        SERVER,
        "gunicorn-gthread",
        f"{GUNICORN} --worker-class gthread --threads 4 test.apps.wsgi:held",
        ("gunicorn",),
    ),
    Endpoint(
        SERVER,
        "gunicorn-handoff",
        f"{GUNICORN} --worker-class sync test.apps.wsgi:handed_off",
        ("gunicorn",),
    ),
    _client("threaded"),
    _client("gevent", "gevent"),
    _client("tornado", "tornado"),
    _client("asyncio"),
    _client("uvloop", "uvloop"),
)
SERVERS = {endpoint.name: endpoint for endpoint in ENDPOINTS if endpoint.role == SERVER}
CLIENTS = {endpoint.name: endpoint for endpoint in ENDPOINTS if endpoint.role == CLIENT}


def common_versions() -> dict[str, str]:
    """Return the versions that every endpoint's results depend on."""
    return {
        platform.python_implementation(): platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "ws4py": __version__,
        **installed(["wsaccel"]),  # which masks, wherever it is installed
    }


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those ``packages`` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

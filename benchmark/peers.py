"""What is compared: servers and clients, each the plain one of its own documentation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

from benchmark.environments import (
    BUILD,
    HERE,
    Compiled,
    Environment,
    Node,
    Own,
    Unavailable,
    Venv,
)

ROOT = HERE.parent
SERVERS, CLIENTS = HERE / "servers", HERE / "clients"

PEERS = Venv(HERE / ".venv")
OLD = Venv(HERE / ".venv-ws4py-0.6")
OLD_WSACCEL = Venv(HERE / ".venv-ws4py-0.6-wsaccel")
#: Its asyncio server needs `asyncio.coroutine`, which Python 3.11 no longer has.
OLD_ASYNCIO = Venv(HERE / ".venv-ws4py-0.6-asyncio", "3.10")
NODE = Node(BUILD)

Command = tuple[str, ...]
ECHO, TLS, BROADCAST, CLIENT = "echo", "tls", "broadcast", "client"


class Program(NamedTuple):
    """A command for each role; {port} and {certificate} are filled in when it is started."""

    group: str
    environment: Environment
    packages: tuple[str, ...]
    commands: dict[str, Command]
    raw: bool = False  # echoes TCP, not WebSocket messages


def started_by(starter: Command, files: dict[str, str], *flags: str) -> dict[str, Command]:
    """Return the commands of programs here, by role; over TLS they are told the certificate."""
    commands = {}
    for role, file in files.items():
        folder = CLIENTS if role == CLIENT else SERVERS
        certificate = ("--certificate", "{certificate}") if role == TLS else ()
        commands[role] = (*starter, str(folder / file), "{port}", *certificate, *flags)
    return commands


def flags_for(packages: tuple[str, ...]) -> Command:
    """Return what tells a program to use these, where that does not go by itself."""
    return tuple(f"--{package}" for package in packages if package in ("uvloop", "wsaccel"))


def peer(files: dict[str, str], *packages: str) -> Program:
    """Return programs on packages from PyPI."""
    commands = started_by((str(PEERS.python),), files, *flags_for(packages))
    return Program("peers", PEERS, packages, commands)


def module(*arguments: str, tls: Command = (), packages: tuple[str, ...]) -> Program:
    """Return a peer that is started as a module, ``python -m``."""
    echo = (str(PEERS.python), "-m", *arguments)
    commands = {ECHO: echo, TLS: echo + tls} if tls else {ECHO: echo}
    return Program("peers", PEERS, packages, commands)


def ours(files: dict[str, str], *packages: str) -> Program:
    """Return programs on this tree."""
    starter = ("env", f"PYTHONPATH={ROOT}", sys.executable)
    return Program("ours", Own(), packages, started_by(starter, files, *flags_for(packages)))


def engine(name: str, files: dict[str, str], *packages: str) -> Program:
    """Return an engine of ours: its echo is that of the command line."""
    program = ours(files, *packages)
    echo = (sys.executable, "-m", "ws4py", "serve", "--engine", name, "--port", "{port}")
    tls = (*echo, "--certfile", "{certificate}")
    return program._replace(commands={ECHO: echo, TLS: tls, **program.commands})


def pure(program: Program) -> Program:
    """Return a program of ours that does without compiled code of ours."""
    setting = ("env", "WS4PY_PURE=1")
    commands = {role: (*setting, *command) for role, command in program.commands.items()}
    return program._replace(commands=commands)


def old(environment: Venv, engine: str, *packages: str) -> Program:
    """Return a server on ws4py 0.6."""
    files = {ECHO: f"ws4py_06_{engine}.py"}
    commands = started_by((str(environment.python),), files, *flags_for(packages))
    return Program("old", environment, ("ws4py==0.6.0", *packages), commands)


def node(package: str, files: dict[str, str]) -> Program:
    starter = ("env", f"NODE_PATH={NODE.modules}", "node")
    return Program("peers", NODE, (package,), started_by(starter, files))


def in_c(name: str, raw: bool = False) -> Program:
    echo: Command = (str(BUILD / name), "{port}")
    return Program("ceiling", Compiled(), (f"{name}.c",), {ECHO: echo}, raw)


def both(echo: str, **files: str) -> dict[str, str]:
    """Return the files of a program that serves TLS as well."""
    return {ECHO: echo, TLS: echo, **files}


WEBSOCKETS = both(
    "websockets_asyncio.py", broadcast="websockets_broadcast.py", client="websockets_asyncio.py"
)
WEBSOCKETS_SYNC = both("websockets_sync.py", client="websockets_sync.py")
PICOWS = both("picows_echo.py", broadcast="picows_broadcast.py", client="picows_client.py")
AIOHTTP = both("aiohttp_echo.py", broadcast="aiohttp_broadcast.py", client="aiohttp_client.py")
TORNADO = both("tornado_echo.py", broadcast="tornado_broadcast.py", client="tornado_client.py")
UVICORN_TLS = ("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{certificate}")


def besides(engine: str, client: str = "") -> dict[str, str]:
    """Return what there is for an engine of ours besides its echo."""
    return {
        BROADCAST: f"ws4py_{engine}_broadcast.py",
        CLIENT: f"ws4py_{client or engine}.py",
    }


STANDALONE = engine("standalone", besides("standalone", "threaded"))

#: In the order in which they are shown.
PROGRAMS = {
    "ws4py": STANDALONE,
    "ws4py-pure": pure(STANDALONE),
    "ws4py-asyncio": engine("asyncio", besides("asyncio")),
    "ws4py-uvloop": ours(both("ws4py_asyncio.py", client="ws4py_asyncio.py"), "uvloop"),
    "ws4py-gevent": engine("gevent", besides("gevent"), "gevent"),
    "ws4py-tornado": engine("tornado", besides("tornado"), "tornado"),
    "ws4py-cherrypy": engine("cherrypy", {}, "CherryPy"),
    "ws4py-wsgiref": engine("wsgiref", {}),
    "ws4py-asgi": engine("asgi", {}, "uvicorn"),
    "picows": peer(PICOWS, "picows"),
    "picows-uvloop": peer(PICOWS, "picows", "uvloop"),
    "websockets": peer(WEBSOCKETS, "websockets"),
    "websockets-uvloop": peer(WEBSOCKETS, "websockets", "uvloop"),
    "websockets-sync": peer(WEBSOCKETS_SYNC, "websockets"),
    "aiohttp": peer(AIOHTTP, "aiohttp"),
    "aiohttp-uvloop": peer(AIOHTTP, "aiohttp", "uvloop"),
    "tornado": peer(TORNADO, "tornado"),
    "websocket-client": peer({CLIENT: "websocket_client.py"}, "websocket-client"),
    "uvicorn": module(
        *("uvicorn", "--app-dir", str(SERVERS), "--port", "{port}", "asgi_echo:app"),
        tls=UVICORN_TLS,
        packages=("uvicorn", "websockets"),
    ),
    "gevent-websocket": peer(both("gevent_websocket.py"), "gevent-websocket"),
    "wsproto": peer({ECHO: "wsproto_epoll.py"}, "wsproto"),
    "simple-websocket": module(
        *("gunicorn", "--chdir", str(SERVERS), "--bind", "127.0.0.1:{port}"),
        *("--threads", "1024", "simple_websocket_wsgi:app"),  # one for each connection
        packages=("simple-websocket", "flask-sock", "gunicorn"),
    ),
    "autobahn": peer(both("autobahn_asyncio.py"), "autobahn"),
    "socketify": peer({ECHO: "socketify_echo.py"}, "socketify"),
    "node-ws": node("ws", both("ws_node.cjs", broadcast="ws_node_broadcast.cjs")),
    "ws4py-0.6-wsgiref": old(OLD, "wsgiref"),
    "ws4py-0.6-gevent": old(OLD, "gevent", "gevent"),
    "ws4py-0.6-cherrypy": old(OLD, "cherrypy", "CherryPy"),
    "ws4py-0.6-wsgiref-wsaccel": old(OLD_WSACCEL, "wsgiref", "wsaccel"),
    "ws4py-0.6-gevent-wsaccel": old(OLD_WSACCEL, "gevent", "wsaccel", "gevent"),
    "ws4py-0.6-cherrypy-wsaccel": old(OLD_WSACCEL, "cherrypy", "wsaccel", "CherryPy"),
    "ws4py-0.6-asyncio-wsaccel": old(OLD_ASYNCIO, "asyncio", "wsaccel"),
    "tcp-python": Program(
        "ceiling",
        Own(),
        (),
        started_by((sys.executable,), {ECHO: "tcp_epoll.py"}),
        raw=True,
    ),
    "tcp-c": in_c("tcp_echo", raw=True),
    "ws-c": in_c("ws_echo"),
}
GROUPS = sorted({program.group for program in PROGRAMS.values()})


def chosen(text: str) -> list[str]:
    """Return the names that a list of names and groups means, in its order."""
    names: dict[str, None] = {}
    for part in map(str.strip, text.split(",")):
        found = [n for n, program in PROGRAMS.items() if part in (n, program.group)]
        if not found:
            raise ValueError(f"{part!r} is not one of {', '.join([*GROUPS, *PROGRAMS])}")
        names.update(dict.fromkeys(found))
    return list(names)


def prepare(names: Iterable[str]) -> dict[str, str]:
    """Install what these programs need; return those that cannot be had here, and why."""
    unavailable = {}
    for name in names:
        program = PROGRAMS[name]
        try:
            program.environment.install(program.packages)
        except Unavailable as exc:
            unavailable[name] = str(exc)
    return unavailable


def versions(names: Iterable[str]) -> dict[str, str]:
    """Tell the versions of what is compared."""
    found = {"ws4py": ws4py_version()}
    for program in map(PROGRAMS.__getitem__, names):
        for package in program.packages:
            name = package.partition("==")[0] + (" (old)" if program.group == "old" else "")
            if name not in found:
                found[name] = program.environment.version(package)
    return {name: version for name, version in found.items() if version}


def ws4py_version() -> str:
    """Return ws4py's version and where its mask comes from, "" if it cannot be imported."""
    code = (
        "import ws4py; from ws4py.masking import mask; "
        "print(f'{ws4py.__version__} (mask: {mask.__module__}.{mask.__qualname__})')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()

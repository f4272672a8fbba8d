"""The command line: ``python -m ws4py serve`` and ``python -m ws4py connect``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Callable, NoReturn

from ws4py._connect import CLIENTS
from ws4py._serve import SERVERS, Serving, woken_by_signals
from ws4py.exc import HandshakeError
from ws4py.limits import Limits
from ws4py.masking import speedups
from ws4py.websocket import WebSocket


class UsageError(Exception):
    """What was asked for cannot be done; the text says why, in one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        arguments = make_parser().parse_args(argv)
        status: int = arguments.command(arguments)
    except UsageError as error:
        print(f"ws4py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError."""
        raise UsageError(f"{message} ({self.prog} --help says more)")


def make_parser() -> Parser:
    """Return the parser of the arguments."""
    parser = Parser(prog="python -m ws4py", description="WebSocket for Python")
    parser.add_argument("--version", action="version", version=version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="serve | connect")
    serving = commands.add_parser("serve", help="serve a WebSocket class")
    serving.set_defaults(command=serve)
    add = serving.add_argument
    echo = "ws4py.websocket:EchoWebSocket"
    handler = "a subclass of WebSocket, in a module here or installed (default %(default)s)"
    add("handler", nargs="?", metavar="MODULE:CLASS", default=echo, help=handler)
    engine = "what runs it (default %(default)s)"
    add("--engine", choices=sorted(SERVERS), default="standalone", help=engine)
    add("--host", default="127.0.0.1", help="the address to listen on (default %(default)s)")
    add("--port", type=_port, default=9000, help="default %(default)s; 0 for any that is free")
    add("--path", type=_path, help="the only path that is served (default: every path)")
    add("--certfile", help="a certificate, with those that it needs behind it: serves wss")
    add("--keyfile", help="its key, if that is not in the same file")
    add("--max-message-size", type=_natural, metavar="BYTES", help="instead of the class's")
    add("--origin", action="append", metavar="URL", help="an Origin that is allowed; repeatable")
    heartbeat = "between two Pings; 0 for none (default: the engine's)"
    add("--heartbeat", type=_seconds, metavar="SECONDS", help=heartbeat)
    drain = "for the end, in which connections are closed one after another (default %(default)s)"
    add("--drain", type=_seconds, metavar="SECONDS", default=5.0, help=drain)
    compress: dict[str, Any] = {
        "choices": ["deflate"],
        "help": "compress messages, if the other side agrees",
    }
    add("--compression", **compress)
    connecting = commands.add_parser("connect", help="send lines, print messages")
    connecting.set_defaults(command=connect)
    add = connecting.add_argument
    add("url", metavar="URL", help="ws://, wss://, ws+unix:// or wss+unix://")
    add("--engine", choices=sorted(CLIENTS), default="threaded", help=engine)
    add("--compression", **compress)
    header = "to be sent with the request; repeatable"
    add("--header", action="append", type=_header, metavar="NAME:VALUE", default=[], help=header)
    add("--origin", metavar="URL", help="the Origin that is sent, as a browser does")
    add("--subprotocol", action="append", metavar="NAME", help="is offered; repeatable")
    add("--cafile", help="certificates to trust, in place of the system's")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def version() -> str:
    """Return the versions that a report of a fault needs."""
    kind = "pure Python" if speedups is None else "compiled"
    number = import_module("ws4py").__version__
    return f"ws4py {number} ({kind}), {sys.implementation.name} {platform.python_version()}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not a header: it is NAME:VALUE")
    return name, value.strip()


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path: it begins with '/'")
    if not text.isascii() or set("?#") & set(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path: it has no query, and is ASCII")
    return text


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def load(name: str) -> Any:
    """Import ``MODULE:CLASS``; the current folder is searched too."""
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise UsageError(f"{name!r} is not of the form MODULE:CLASS")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_name)
    except ImportError as error:
        hint = "; a module's name has no '.py'" if module_name.endswith(".py") else ""
        raise UsageError(f"module {module_name!r} cannot be imported: {error}{hint}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise UsageError(f"module {module_name!r} has no class {class_name!r}")
    if not isinstance(found, type) or not issubclass(found, WebSocket):
        raise UsageError(f"{name} is not a subclass of ws4py.websocket.WebSocket")
    return found


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, and end gracefully; a second one ends the process at once."""
    handler = load(arguments.handler)
    try:
        serving = Serving(
            handler,
            arguments.host,
            arguments.port,
            arguments.path,
            arguments.certfile,
            arguments.keyfile,
            arguments.origin,
            limits_of(arguments, handler),
            arguments.heartbeat,
            arguments.drain,
            arguments.compression,
        )
        server = on_engine(SERVERS, arguments.engine)(serving)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        address = f"{arguments.host}:{arguments.port}"
        raise UsageError(f"cannot listen on {address}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    with woken_by_signals(server.watch):
        stop_on_signal(server.stop)
        announce(arguments, server.address)
        server.serve()
    return 0


def stop_on_signal(stop: Callable[[], object]) -> None:
    """Call ``stop`` at the first SIGINT or SIGTERM; the next one is left to the system.

    That ends the process whatever the program is at: a callback that does not return, say.
    """

    def handle(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        signal.signal(number, handle)


def on_engine(table: Mapping[str, Callable[..., Any]], engine: str) -> Callable[..., Any]:
    """Return what ``table`` has for an engine; it complains if a package is missing."""

    def call(*arguments: Any) -> Any:
        try:
            return table[engine](*arguments)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            raise UsageError(
                f"the engine {engine} needs the package {package}: "
                f"python -m pip install 'ws4py[{engine}]'"
            ) from error

    return call


def announce(arguments: argparse.Namespace, address: Any) -> None:
    """Say where the server can be reached, now that it can."""
    scheme = "wss" if arguments.certfile else "ws"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    path = arguments.path or "/"
    print(f"Serving {arguments.handler} on {scheme}://{host}:{address[1]}{path}", flush=True)


def limits_of(arguments: argparse.Namespace, handler: type[WebSocket]) -> Limits:
    """Return the limits of ``handler``, but for those that the arguments set."""
    size = arguments.max_message_size
    return handler.limits if size is None else replace(handler.limits, max_message_size=size)


def connect(arguments: argparse.Namespace) -> int:
    """Send what is typed, line by line, until its end or that of the connection."""
    origin, cafile = arguments.origin, arguments.cafile
    options = {
        "compression": arguments.compression,
        "headers": arguments.header + ([] if origin is None else [("Origin", origin)]),
        "protocols": arguments.subprotocol,
        "ssl_options": None if cafile is None else {"ca_certs": cafile},
    }
    try:
        on_engine(CLIENTS, arguments.engine)(arguments.url, options)
    except HandshakeError as error:
        why = error.body.decode("utf-8", "replace").strip().partition("\n")[0][:200]
        print(f"ws4py: the handshake failed: {error}{why and f' ({why})'}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ws4py: cannot connect to {arguments.url}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())

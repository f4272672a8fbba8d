"""The command line: ``python -m ws4py serve`` and ``python -m ws4py connect``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from codecs import getincrementaldecoder
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from threading import Event, Thread
from typing import Any, Callable, NoReturn

from ws4py import _tls
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError
from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer
from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler, WSGIServer
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import WebSocket

#: A server, and what makes its ``serve_forever`` end.
Engine = tuple[Any, Callable[[], object]]


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
    return status


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError."""
        raise UsageError(f"{message} ({self.prog} --help says more)")


def make_parser() -> Parser:
    """Return the parser of the arguments."""
    parser = Parser(prog="python -m ws4py", description="WebSocket for Python")
    commands = parser.add_subparsers(title="commands", required=True, metavar="serve | connect")
    serving = commands.add_parser("serve", help="serve a WebSocket class")
    serving.set_defaults(command=serve)
    add = serving.add_argument
    add("handler", nargs="?", metavar="MODULE:CLASS", default="ws4py.websocket:EchoWebSocket")
    add("--engine", choices=sorted(ENGINES), default="standalone")
    add("--host", default="127.0.0.1", help="the address to listen on (default %(default)s)")
    add("--port", type=_port, default=9000, help="default %(default)s; 0 for any that is free")
    add("--path", type=_path, help="the only path that is served (default: every path)")
    add("--certfile", help="a certificate, with those that it needs behind it: serves wss")
    add("--keyfile", help="its key, if that is not in the same file")
    add("--max-message-size", type=_natural, metavar="BYTES", help="instead of the class's")
    add("--origin", action="append", metavar="URL", help="an Origin that is allowed; repeatable")
    add("--heartbeat", type=_seconds, metavar="SECONDS", help="between two Pings; 0 for none")
    connecting = commands.add_parser("connect", help="send lines, print messages")
    connecting.set_defaults(command=connect)
    connecting.add_argument("url", metavar="URL")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path: it begins with '/'")
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
        raise UsageError(f"module {module_name!r} cannot be imported: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise UsageError(f"module {module_name!r} has no class {class_name!r}")
    if not isinstance(found, type) or not issubclass(found, WebSocket):
        raise UsageError(f"{name} is not a subclass of ws4py.websocket.WebSocket")
    return found


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    handler = load(arguments.handler)
    try:
        context = None
        if arguments.certfile:
            context = _tls.server_context(arguments.certfile, arguments.keyfile)
        elif arguments.keyfile:
            raise UsageError("--keyfile needs --certfile")
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    try:
        server, stop = ENGINES[arguments.engine](arguments, handler, context)
    except OSError as error:
        address = f"{arguments.host}:{arguments.port}"
        raise UsageError(f"cannot listen on {address}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
    with server:
        announce(arguments, server.server_address)
        server.serve_forever()
    return 0


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


def make_standalone(arguments: argparse.Namespace, handler: Any, context: Any) -> Engine:
    """Return ws4py's own server, and what stops it."""
    server = WebSocketServer(
        (arguments.host, arguments.port),
        {arguments.path: handler} if arguments.path else handler,
        origins=arguments.origin,
        ssl_context=context,
        limits=limits_of(arguments, handler),
        heartbeat_freq=20.0 if arguments.heartbeat is None else arguments.heartbeat,
    )
    loop = server.manager.loop

    def stop() -> None:
        loop.call_soon(server.shutdown)
        loop.wake()

    return server, stop


def make_wsgiref(arguments: argparse.Namespace, handler: Any, context: Any) -> Engine:
    """Return the standard library's WSGI server, and what stops it."""
    application = WebSocketWSGIApplication(
        handler_cls=handler,
        origins=arguments.origin,
        limits=limits_of(arguments, handler),
        heartbeat_freq=arguments.heartbeat,
    )

    def route(environ: dict[str, Any], start_response: Any) -> Any:
        if arguments.path in (None, environ["PATH_INFO"]):
            return application(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is no WebSocket at this path\n"]

    server = WSGIServer((arguments.host, arguments.port), WebSocketWSGIRequestHandler)
    server.set_app(route)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.initialize_websockets_manager()
    # shutdown waits for serve_forever, which runs in this thread.
    return server, lambda: Thread(target=server.shutdown).start()


ENGINES: dict[str, Callable[[argparse.Namespace, Any, Any], Engine]] = {
    "standalone": make_standalone,
    "wsgiref": make_wsgiref,
}


class Terminal(WebSocketClient):
    """Prints what it receives."""

    def received_message(self, message: Any) -> None:
        """Print a message; bytes that are not text in hexadecimal."""
        show(
            f"< {message}" if message.is_text else f"< ({len(message)} bytes) {message.data.hex()}"
        )

    def closed(self, code: int, reason: str | None = None) -> None:
        """Print how it ended."""
        show(f"Connection closed: {code} {reason or ''}".rstrip())


def show(text: str) -> None:
    """Print a line at once."""
    with suppress(BrokenPipeError):
        print(text, flush=True)


def connect(arguments: argparse.Namespace) -> int:
    """Send what is typed, line by line, until its end or that of the connection."""
    try:
        client = Terminal(arguments.url)
        client.connect()
    except HandshakeError as error:
        print(f"ws4py: the handshake failed: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ws4py: cannot connect to {arguments.url}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        raise UsageError(str(error)) from error
    input_ended = Event()
    sender = Thread(target=send_lines, args=(client, input_ended), daemon=True)
    sender.start()
    try:
        client.run_forever()
    except KeyboardInterrupt:
        client.close()
        client.run_forever()
    if input_ended.is_set():
        sender.join()
    return 0


def send_lines(client: WebSocketClient, ended: Event) -> None:
    """Send each line of the standard input; at its end set ``ended`` and close.

    Reads the descriptor: a thread within ``sys.stdin`` would hold its lock when the program ends.
    """
    decoder, rest = getincrementaldecoder("utf-8")("replace"), ""
    with suppress(RuntimeError, OSError):
        while sys.stdin is not None:  # else the first socket has its number
            data = os.read(0, 64 * 1024)
            *lines, rest = (rest + decoder.decode(data, not data)).split("\n")
            for line in lines:
                client.send(line.rstrip("\r"))
            if not data:
                break
        if rest:
            client.send(rest)
    ended.set()
    client.close()


if __name__ == "__main__":
    sys.exit(main())

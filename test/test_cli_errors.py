"""What the command line says to what it cannot do: one line, and exit status 2."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from test.helpers import echo_server, url_of
from test.test_cli import Program, every_engine, run


def refused(*arguments: object, cwd: Path | None = None) -> str:
    """Return the only line on the standard error of a program that exits with status 2."""
    status, errors = run(*arguments) if cwd is None else run(*arguments, cwd=cwd)
    assert status == 2, errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    return lines[0]


@pytest.mark.parametrize(
    "url", ["localhost:9000", "http://localhost/", "ws://", "ws://localhost:99999/", "ws://a b/"]
)
def test_a_wrong_url_is_named(url: str) -> None:
    assert url in refused("connect", url)


def test_a_module_that_does_not_exist_is_named() -> None:
    assert "no_such_module" in refused("serve", "no_such_module:Echo", "--port", "0")


def test_a_module_that_another_one_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_module\n")
    assert "no_such_module" in refused("serve", "lacking:Echo", "--port", "0", cwd=tmp_path)


def test_the_name_of_a_file_is_told_to_be_that_of_a_module() -> None:
    assert "has no '.py'" in refused("serve", "shout.py:Shout", "--port", "0")


@pytest.mark.parametrize("header", ["Authorization", "X Y: a", "X: a\nb"])
def test_what_is_no_header_is_named(header: str) -> None:
    with echo_server() as server:
        assert repr(header)[:4] in refused("connect", url_of(server), "--header", header)


def test_a_class_that_does_not_exist_is_named() -> None:
    assert "'NoSuchClass'" in refused("serve", "ws4py.websocket:NoSuchClass", "--port", "0")


@pytest.mark.parametrize("name", ["ws4py.closing:logger", "os:getcwd", "queue:Queue"])
def test_what_is_not_a_subclass_of_websocket_is_named(name: str) -> None:
    assert name in refused("serve", name, "--port", "0")


def test_a_class_with_coroutines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "from ws4py.websocket import WebSocket\n"
        "class Waiting(WebSocket):\n"
        "    async def received_message(self, message): pass\n"
    )
    line = refused("serve", "waiting:Waiting", "--port", "0", cwd=tmp_path)
    assert "Waiting.received_message" in line


@pytest.mark.parametrize("name", ["ws4py.websocket", "ws4py.websocket:", ":EchoWebSocket", ""])
def test_a_name_of_another_form_is_named(name: str) -> None:
    line = refused("serve", name, "--port", "0")
    assert repr(name) in line
    assert "MODULE:CLASS" in line


@every_engine
def test_a_port_that_is_taken_is_named(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused("serve", "--engine", engine, "--port", port)


@every_engine
def test_a_host_that_is_unknown_is_named(engine: str) -> None:
    line = refused("serve", "--engine", engine, "--host", "no.such.host.invalid", "--port", "0")
    assert "no.such.host.invalid" in line


def test_a_certificate_that_does_not_exist_is_named() -> None:
    assert "/no/such.pem" in refused("serve", "--port", "0", "--certfile", "/no/such.pem")


def test_a_key_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("anything")
    line = refused(
        "serve", "--port", "0", "--certfile", tmp_path / "a.pem", "--keyfile", "/no/such.key"
    )
    assert "/no/such.key" in line


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    path.write_text("anything")
    assert str(path) in refused("serve", "--port", "0", "--certfile", path)


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    assert str(tmp_path) in refused("serve", "--port", "0", "--certfile", tmp_path)


def test_a_key_needs_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("anything")
    line = refused("serve", "--port", "0", "--keyfile", tmp_path / "a.key")
    assert "--certfile" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--port", "http"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", "²"),
        ("--max-message-size", "1.5"),
        ("--max-message-size", "-1"),
        ("--max-message-size", "²"),
        ("--heartbeat", "often"),
        ("--heartbeat", "-1"),
        ("--heartbeat", "nan"),
        ("--heartbeat", "inf"),
    ],
)
def test_a_bad_number_is_named(option: str, value: str) -> None:
    line = refused("serve", f"{option}={value}")
    assert option in line
    assert value in line


@every_engine
@pytest.mark.parametrize("origin", ["example.com", "https://example.com/page", ""])
def test_what_is_no_origin_is_named(engine: str, origin: str) -> None:
    line = refused("serve", "--port", "0", "--engine", engine, "--origin", origin)
    assert repr(origin) in line


def test_an_engine_that_does_not_exist_is_named() -> None:
    assert "'twisted'" in refused("serve", "--engine", "twisted")


@pytest.mark.parametrize("command", [("serve",), ("connect", "ws://localhost/")])
def test_a_compression_that_does_not_exist_is_named(command: tuple[str, ...]) -> None:
    line = refused(*command, "--compression", "gzip")
    assert "--compression" in line
    assert "'gzip'" in line


@pytest.mark.parametrize("arguments", [(), ("listen",), ("connect",), ("serve", "--colour")])
def test_what_is_no_command_is_refused(arguments: tuple[str, ...]) -> None:
    refused(*arguments)


@every_engine
def test_a_path_that_cannot_be_one_is_named(engine: str) -> None:
    line = refused("serve", "--port", "0", "--engine", engine, "--path", "chat")
    assert "'chat'" in line


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from ws4py.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("cherrypy", ["serve", "--engine", "cherrypy"]),
        ("gevent", ["serve", "--engine", "gevent"]),
        ("tornado", ["serve", "--engine", "tornado"]),
        ("uvicorn", ["serve", "--engine", "asgi"]),
        ("gevent", ["connect", "--engine", "gevent", "ws://localhost/"]),
        ("tornado", ["connect", "--engine", "tornado", "ws://localhost/"]),
    ],
    ids=str,
)
def test_a_package_that_is_missing_is_named_with_the_extra_that_has_it(
    package: str, arguments: list[str]
) -> None:
    with Program("-c", WITHOUT, package, *arguments) as program:
        assert program.end() == 2
        engine = arguments[2]
        assert program.errors.splitlines() == [
            f"ws4py: the engine {engine} needs the package {package}: "
            f"python -m pip install 'ws4py[{engine}]'"
        ]

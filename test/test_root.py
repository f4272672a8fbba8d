"""What ``import ws4py`` gives: the version, the logger, addresses to read."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

import ws4py
from test.helpers import TIMEOUT
from ws4py import configure_logger, format_addresses, handshake, masking
from ws4py.websocket import WebSocket

PROJECT = Path(__file__).resolve().parent.parent
LINE = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] %s %s\n"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger of ws4py, left as it was found."""
    logger = logging.getLogger("ws4py")
    level, handlers = logger.level, list(logger.handlers)
    yield logger
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        here = stack.enter_context(
            socket.create_connection(listener.getsockname(), timeout=TIMEOUT)
        )
        there = stack.enter_context(listener.accept()[0])
        yield here, there


def test_the_package_exports_the_documented_names() -> None:
    assert ws4py.__all__ == ["WS_KEY", "WS_VERSION", "configure_logger", "format_addresses"]
    assert ws4py.WS_KEY is handshake.WS_KEY
    assert ws4py.WS_VERSION is handshake.WS_VERSION
    assert isinstance(ws4py.__author__, str)


def test_the_version_is_found_by_the_pattern_that_tools_use() -> None:
    source = (PROJECT / "ws4py" / "__init__.py").read_text(encoding="utf-8")
    assert re.findall(r'__version__ = "(.+?)"', source) == [ws4py.__version__]


def test_the_version_is_one_that_can_be_released() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", ws4py.__version__)


def test_the_version_stands_in_one_place() -> None:
    sources = [PROJECT / "pyproject.toml", PROJECT / "setup.py", *(PROJECT / "docs").glob("*.py")]
    sources += sorted((PROJECT / "ws4py").rglob("*.py"))
    holders = [
        str(path.relative_to(PROJECT))
        for path in sources
        if ws4py.__version__ in path.read_text(encoding="utf-8")
    ]
    assert holders == [str(Path("ws4py", "__init__.py"))]


def test_the_root_loads_no_engine() -> None:
    source = "import sys, ws4py; print(sorted(m for m in sys.modules if m.startswith('ws4py.')))"
    loaded = subprocess.check_output([sys.executable, "-c", source], text=True, cwd=PROJECT)
    expected = ["deflate", "exc", "framing", "handshake", "headers", "heads", "limits", "masking"]
    if masking.speedups is not None:
        expected.insert(0, "_speedups")
    assert loaded.strip() == str([f"ws4py.{name}" for name in expected])


def test_configure_logger_returns_the_logger_named_ws4py(logger: logging.Logger) -> None:
    assert configure_logger() is logger


def test_by_default_it_writes_to_the_standard_output(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logger()
    logger.info("hello %s", "you")
    logger.debug("not this")
    written = capsys.readouterr()
    assert re.fullmatch(LINE % ("INFO", "hello you"), written.out)
    assert written.err == ""


def test_the_level_is_info_by_default_and_can_be_set(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logger()
    assert logger.level == logging.INFO == 20
    configure_logger(level=logging.DEBUG)
    logger.debug("this")
    assert logger.level == logging.DEBUG
    assert [handler.level for handler in logger.handlers] == [logging.DEBUG]
    assert re.fullmatch(LINE % ("DEBUG", "this"), capsys.readouterr().out)


def test_it_can_be_told_not_to_write_to_the_standard_output(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(logger.handlers)
    configure_logger(stdout=False)
    logger.info("hello")
    assert logger.handlers == before
    assert capsys.readouterr().out == ""


def test_it_writes_to_a_file_too(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ws4py.log"
    configure_logger(filepath=str(path))
    logger.warning("careful")
    assert re.fullmatch(LINE % ("WARNING", "careful"), path.read_text())
    assert re.fullmatch(LINE % ("WARNING", "careful"), capsys.readouterr().out)


def test_the_file_is_rotated_at_ten_mebibytes_and_three_are_kept(
    logger: logging.Logger, tmp_path: Path
) -> None:
    configure_logger(False, str(tmp_path / "ws4py.log"), logging.ERROR)
    (handler,) = (each for each in logger.handlers if isinstance(each, RotatingFileHandler))
    assert (handler.maxBytes, handler.backupCount, handler.level) == (10485760, 3, logging.ERROR)


def test_a_second_call_does_not_double_each_line(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ws4py.log"
    for _ in range(3):
        configure_logger(filepath=str(path))
    logger.info("once")
    assert capsys.readouterr().out.count("once") == 1
    assert path.read_text().count("once") == 1


def test_a_second_call_closes_the_file_of_the_first(logger: logging.Logger, tmp_path: Path) -> None:
    configure_logger(False, str(tmp_path / "first.log"))
    (handler,) = (each for each in logger.handlers if isinstance(each, RotatingFileHandler))
    configure_logger(False, str(tmp_path / "second.log"))
    assert handler.stream is None
    logger.info("hello")
    assert (tmp_path / "first.log").read_text() == ""
    assert "hello" in (tmp_path / "second.log").read_text()


def test_handlers_of_the_application_are_left_alone(logger: logging.Logger) -> None:
    own = logging.NullHandler()
    logger.addHandler(own)
    configure_logger()
    configure_logger(stdout=False)
    assert own in logger.handlers


def test_a_file_that_cannot_be_opened_is_an_error(logger: logging.Logger, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        configure_logger(filepath=str(tmp_path / "missing" / "ws4py.log"))


def test_the_addresses_of_a_tcp_connection_are_both_named(tcp: tuple) -> None:
    here, there = tcp
    (_, port), (_, peer_port) = here.getsockname(), there.getsockname()
    assert format_addresses(WebSocket(here)) == (
        f"[Local => 127.0.0.1:{port} | Remote => 127.0.0.1:{peer_port}]"
    )
    assert format_addresses(WebSocket(there)) == (
        f"[Local => 127.0.0.1:{peer_port} | Remote => 127.0.0.1:{port}]"
    )


def test_the_addresses_are_still_known_when_the_connection_has_ended(tcp: tuple) -> None:
    websocket = WebSocket(tcp[0])
    before = format_addresses(websocket)
    websocket.close_connection()
    assert format_addresses(websocket) == before


@pytest.mark.skipif(not socket.has_ipv6, reason="Python knows no IPv6 here")
def test_the_addresses_of_an_ipv6_connection_have_two_parts() -> None:
    with ExitStack() as stack:
        try:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError as error:
            pytest.skip(f"no IPv6 loopback: {error}")
        stack.enter_context(listener)
        port = listener.getsockname()[1]
        here = stack.enter_context(socket.create_connection(("::1", port), timeout=TIMEOUT))
        own = here.getsockname()[1]
        assert format_addresses(WebSocket(here)) == (f"[Local => ::1:{own} | Remote => ::1:{port}]")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix-domain sockets here")
def test_a_unix_domain_socket_is_named_by_what_it_is_bound_to(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen()
        here = stack.enter_context(socket.socket(socket.AF_UNIX))
        here.connect(path)
        there = stack.enter_context(listener.accept()[0])
        assert format_addresses(WebSocket(there)) == f"[Bound to '{path}']"
        assert format_addresses(WebSocket(here)) == "[Bound to '']"


def test_a_websocket_without_a_socket_has_no_addresses() -> None:
    with pytest.raises(AttributeError):
        format_addresses(WebSocket(None))

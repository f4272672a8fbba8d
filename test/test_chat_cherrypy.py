"""The example chat under CherryPy, as a program; test_browser_cherrypy.py looks at its page."""

from __future__ import annotations

import signal
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from test.helpers import TIMEOUT
from test.pages import Announced
from test.test_cli import Client, Program
from ws4py.exc import HandshakeError

EXAMPLE = "example/echo_cherrypy_server.py"
#: What each client gets first; from then on it gets what anybody says.
WELCOME = "Welcome! What you say is said to everybody here."


class Chatting(Announced):
    """``example/echo_cherrypy_server.py``, once it accepts connections."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("echo_cherrypy_server.py", "--port", "0", *arguments)


class Person(Client):
    """A tab of a browser, without the browser."""

    def __init__(self, chat: Chatting, **options: Any) -> None:
        super().__init__(chat.url.replace("http", "ws") + "ws", **options)

    def __enter__(self) -> Person:
        super().__enter__()
        assert self.next_event() == ("text", WELCOME.encode())
        return self


@pytest.fixture
def chat() -> Iterator[Chatting]:
    with Chatting() as chatting:
        yield chatting


def test_the_page_is_at_the_address_that_is_printed(chat: Chatting) -> None:
    with urllib.request.urlopen(chat.url, timeout=TIMEOUT) as response:
        assert response.headers["Content-Type"] == "text/html;charset=utf-8"
        page = response.read()
    assert b"<title>Real-time chat</title>" in page
    assert "Connecting …".encode() in page
    assert b"//" not in page


def test_everybody_gets_what_somebody_says(chat: Chatting) -> None:
    with Person(chat) as ada, Person(chat) as grace:
        ada.send("Ada: <b>hello</b>")
        grace.send("Grace: grüße")
        for person in (ada, grace):
            heard = {person.next_event() for _ in range(2)}
            assert heard == {
                ("text", b"Ada: <b>hello</b>"),
                ("text", "Grace: grüße".encode()),
            }


def test_a_page_of_another_site_may_not_take_part(chat: Chatting) -> None:
    other = Person(chat, headers=[("Origin", "http://evil.example")])
    with pytest.raises(HandshakeError) as refused:
        other.connect()
    assert refused.value.status == 403


def test_a_message_that_is_far_too_long_is_refused(chat: Chatting) -> None:
    with Person(chat) as eve:
        eve.send("x" * 5000)
        assert eve.all_events()[-1][:2] == ("closed", 1009)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_goodbye_to_everybody(chat: Chatting, number: int) -> None:
    with Person(chat) as ada, Person(chat) as grace:
        assert chat.end(number) == 0
        for person in (ada, grace):
            assert person.all_events()[-1] == ("closed", 1001, "Server is shutting down")
    assert chat.errors == ""


def test_it_speaks_tls_with_a_certificate(
    authority: trustme.CA, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    issued = authority.issue_cert("localhost")
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    with Chatting("--ssl", str(certificate), str(key)) as chat:
        assert chat.url.startswith("https://localhost:")
        with Person(chat, ssl_context=client_tls) as ada:
            ada.send("Ada: hello")
            assert ada.next_event() == ("text", b"Ada: hello")


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Program(EXAMPLE, "--host", "127.0.0.1", "--port", port) as program:
            assert program.end() == 2
            assert program.errors.count("\n") == 1
            assert program.errors.startswith("echo_cherrypy_server.py: cannot listen")
            assert port in program.errors


def test_there_is_no_other_page(chat: Chatting) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{chat.url}nothing", timeout=TIMEOUT)
    refused.value.close()
    assert refused.value.code == 404

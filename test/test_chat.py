"""The example chat: its server, as a program; test_browser.py looks at its page."""

from __future__ import annotations

import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from test.helpers import TIMEOUT
from test.pages import Announced, Peer
from test.test_cli import ROOT, Program


class Chatting(Announced):
    """``example/chat.py``, once it accepts connections."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("chat.py", *arguments)


class Person(Peer):
    """Somebody who takes part."""

    def __init__(self, chat: Announced, name: str | None = None, **options: Any):
        super().__init__(chat.url, "ws", name, **options)


@pytest.fixture
def chat() -> Iterator[Chatting]:
    with Chatting() as chatting:
        yield chatting


def test_the_page_is_at_the_address_that_is_printed(chat: Chatting) -> None:
    with urllib.request.urlopen(chat.url, timeout=TIMEOUT) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"<title>Chat</title>" in response.read()


@pytest.mark.parametrize("path", sorted((ROOT / "example/static").iterdir()), ids=lambda p: p.name)
def test_what_a_page_is_made_of_is_served_and_takes_nothing_from_elsewhere(
    chat: Chatting, path: Path
) -> None:
    with urllib.request.urlopen(f"{chat.url}static/{path.name}", timeout=TIMEOUT) as response:
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
        served = response.read()
    assert served == path.read_bytes()
    for forbidden in (b"://", b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write"):
        assert forbidden not in served


@pytest.mark.parametrize("path", ["favicon.ico", "static/", "static/../pages.py", "pages.py"])
def test_there_is_no_other_page(chat: Chatting, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{chat.url}{path}", timeout=TIMEOUT)
    refused.value.close()
    assert refused.value.code == 404


def test_everybody_gets_what_somebody_says(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada, Person(chat, "Grace") as grace:
        ada.send(" <b>hello</b> ")
        for person in (ada, grace):
            person.hears(who="Ada", text="<b>hello</b>")
        grace.send("hi")
        for person in (ada, grace):
            person.hears(who="Grace", text="hi")


def test_joining_and_leaving_are_told_with_who_is_here(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada:
        ada.hears(you="Ada")
        ada.hears(note="Ada has joined", here=["Ada"])
        with Person(chat, "Grace") as grace:
            ada.hears(note="Grace has joined", here=["Ada", "Grace"])
            grace.hears(here=["Ada", "Grace"])
        ada.hears(note="Grace has left", here=["Ada"])


def test_a_connection_that_breaks_has_left(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada, Person(chat, "Grace") as grace:
        grace.hears(you="Grace")
        grace.terminate()
        ada.hears(note="Grace has left")


def test_a_new_name_is_told(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada:
        ada.send("/name  Grace  Hopper ")
        ada.hears(you="Grace Hopper")
        ada.hears(note="Ada is now Grace Hopper", here=["Grace Hopper"])


@pytest.mark.parametrize("name", [None, "", "   "])
def test_who_gives_no_name_is_a_guest(chat: Chatting, name: str | None) -> None:
    with Person(chat, name) as person:
        person.hears(you="Guest")


def test_nobody_has_the_name_of_another(chat: Chatting) -> None:
    with Person(chat, "Ada") as first, Person(chat, "Ada") as second, Person(chat, "Eve") as eve:
        first.hears(you="Ada")
        second.hears(you="Ada 2")
        eve.send("/name Ada")
        eve.hears(you="Ada 3")


def test_a_name_that_is_emptied_is_not_said(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada:
        ada.send("/name ")
        ada.hears(note="Ada is now Guest")


def test_a_page_of_another_site_may_not_listen(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada:
        other = Person(chat, "Eve", headers=[("Origin", "http://evil.example")])
        other.connect()
        with suppress(RuntimeError):  # the server may have closed it by then
            other.send("spam")
        ada.send("secret")
        ada.hears(text="secret")
        assert [event[:2] for event in other.all_events()] == [("opened",), ("closed", 1008)]


def test_a_message_that_is_far_too_long_is_refused(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada, Person(chat, "Eve") as eve:
        eve.send("x" * 5000)
        assert eve.all_events()[-1][:2] == ("closed", 1009)
        ada.hears(note="Eve has left")


def test_ctrl_c_says_goodbye_to_everybody(chat: Chatting) -> None:
    with Person(chat, "Ada") as ada, Person(chat, "Grace") as grace:
        for person in (ada, grace):
            person.hears(note="Grace has joined")
        assert chat.end(signal.SIGINT) == 0
        for person in (ada, grace):
            assert person.all_events()[-1][:2] == ("closed", 1001)
    assert chat.errors == ""


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Program("example/chat.py", "--host", "127.0.0.1", "--port", port) as program:
            assert program.end() == 2
            assert program.errors.count("\n") == 1
            assert port in program.errors

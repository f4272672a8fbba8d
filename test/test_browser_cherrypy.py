"""A real browser in the example chat under CherryPy, and two thousand clients with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from test import test_browser, test_snippets_crowd
from test.snippets import Program as Snippet
from test.snippets import edited, port_edit
from test.test_browser import say
from test.test_chat_cherrypy import WELCOME, Chatting

pytestmark = pytest.mark.browser

browser = test_browser.browser
context = test_browser.context
enough_descriptors = test_snippets_crowd.enough_descriptors

CLIENTS = 2000


@pytest.fixture
def chat(enough_descriptors: None) -> Iterator[Chatting]:
    with Chatting() as chatting:
        yield chatting


def open_tab(context: Any, chat: Chatting, name: str) -> Any:
    """Open the chat in a tab, under ``name``."""
    tab = context.new_page()
    tab.goto(chat.url)
    tab.get_by_label("Your name").fill(name)
    tab.get_by_text("Connected", exact=True).wait_for()
    tab.get_by_text(WELCOME, exact=True).wait_for()
    return tab


def test_what_is_typed_in_a_tab_is_shown_in_all(context: Any, chat: Chatting) -> None:
    ada, grace = open_tab(context, chat, "Ada"), open_tab(context, chat, "Grace")
    say(ada, "hello: <b>both</b> of you")
    for tab in (ada, grace):
        tab.get_by_text("hello: <b>both</b> of you", exact=True).wait_for()
    assert ada.locator("li.mine").all_inner_texts() == ["hello: <b>both</b> of you"]
    assert grace.locator("li.mine").count() == 0
    assert grace.locator("li b").all_inner_texts() == ["Ada"]
    assert ada.get_by_label("Message", exact=True).input_value() == ""


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_a_screen_of_any_width(context: Any, chat: Chatting, width: int) -> None:
    tab = open_tab(context, chat, "Somebody of a long name")
    tab.set_viewport_size({"width": width, "height": 600})
    for number in range(20):
        say(tab, f"{number} {'word' * 60}")
    tab.get_by_text(f"19 {'word' * 60}").wait_for()
    sizes = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert tab.evaluate(sizes) == [width, 600]
    assert tab.get_by_role("listitem").last.bounding_box()["y"] < 600


def test_a_tab_says_that_the_server_has_gone(context: Any, chat: Chatting) -> None:
    tab = open_tab(context, chat, "Ada")
    assert chat.end(signal.SIGINT) == 0
    tab.get_by_text("Connection lost").wait_for()
    assert tab.get_by_role("button").is_disabled()


def test_what_is_typed_in_a_tab_reaches_two_thousand_clients_on_one_manager(
    context: Any, chat: Chatting, tmp_path: Path
) -> None:
    tab = open_tab(context, chat, "Ada")
    source = edited(
        "manager_2000_clients",
        test_snippets_crowd.ITERVALUES,
        port_edit(int(chat.port)),
    )
    with Snippet(source, tmp_path) as program:
        printed = program.printed_until(lambda line: "clients are connected" in line)
        for _ in range(CLIENTS - test_snippets_crowd.count(printed, WELCOME)):
            program.printed_until(lambda line: line.endswith(WELCOME))
        say(tab, "hello, all of you")
        tab.get_by_role("listitem").get_by_text("hello, all of you", exact=True).wait_for()
        for _ in range(CLIENTS):
            program.printed_until(lambda line: line.endswith("Ada: hello, all of you"))
        assert chat.end(signal.SIGTERM) == 0
        tab.get_by_text("Connection lost").wait_for()
    assert chat.errors == ""

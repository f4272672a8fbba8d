"""A real browser as the peer: the example chat, and what a page sees of our server."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT
from test.test_chat import Chatting
from test.test_cli import Serving

pytestmark = pytest.mark.browser

NAMES = ["chromium", "chromium-browser", "google-chrome"]
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: A page's script: a WebSocket that can be asked for what has happened to it, in order.
SCRIPT = """
function connect(url) {
  const socket = new WebSocket(url), events = [], waiting = [];
  const happen = event => {
    const next = waiting.shift();
    if (next) next(event); else events.push(event);
  };
  socket.binaryType = "arraybuffer";
  socket.onopen = () => happen(["open"]);
  socket.onerror = () => happen(["error"]);
  socket.onmessage = ({data}) => happen(["message", data]);
  socket.onclose = event => happen(["close", event.code, event.reason, event.wasClean]);
  const next = () => new Promise(resolve =>
    events.length ? resolve(events.shift()) : waiting.push(resolve));
  return {socket, next};
}

async function echo(url, sizes, make, equal) {
  const {socket, next} = connect(url), wrong = [];
  await next();
  for (const size of sizes) {
    const sent = make(size);
    socket.send(sent);
    const [kind, data] = await next();
    if (kind !== "message" || !equal(sent, data)) wrong.push(size);
  }
  socket.close(1000, "done");
  return {wrong, end: await next()};
}

function echoText(url, sizes) {
  const make = size => "h\\u00e9\\u{1f600}\\0".repeat(size / 5 + 1).slice(0, size);
  return echo(url, sizes, size => make(size).toWellFormed(), (a, b) => a === b);
}

function echoBinary(url, sizes) {
  const make = size => Uint8Array.from({length: size}, (_, i) => (i * 7 + (i >> 8)) & 255).buffer;
  return echo(url, sizes, make, (a, b) => {
    if (!(b instanceof ArrayBuffer)) return false;
    const [x, y] = [new Uint8Array(a), new Uint8Array(b)];
    return x.length === y.length && x.every((byte, i) => byte === y[i]);
  });
}
"""

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 100_001, 1024 * 1024]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that runs."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    reason = f"no browser: none of {', '.join(NAMES)} is on the PATH"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        found, reason = None, f"no way to drive a browser: {error}"
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """What tabs that know each other have in common. An error in a page's script fails the test."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT * 1000)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert errors == []


@pytest.fixture
def chat() -> Iterator[Chatting]:
    with Chatting() as chatting:
        yield chatting


@pytest.fixture
def page(context: Any, chat: Chatting) -> Any:
    """A page of our origin with SCRIPT; the chat is there only because it serves a page."""
    page = context.new_page()
    page.goto(f"{chat.url}nothing")
    page.add_script_tag(content=SCRIPT)
    return page


def open_tab(context: Any, chat: Chatting, name: str) -> Any:
    """Open the chat in a tab, under ``name``."""
    tab = context.new_page()
    tab.goto(chat.url)
    tab.get_by_text("Connected").wait_for()
    tab.get_by_label("Your name").fill(name)
    tab.get_by_label("Your name").press("Enter")
    tab.get_by_text(f"is now {name}").wait_for()
    return tab


def say(tab: Any, text: str) -> None:
    """Type a message, and press Enter."""
    tab.get_by_label("Message", exact=True).fill(text)
    tab.get_by_label("Message", exact=True).press("Enter")


def test_what_is_typed_in_one_tab_appears_in_the_other(context: Any, chat: Chatting) -> None:
    ada, grace = open_tab(context, chat, "Ada"), open_tab(context, chat, "Grace")
    say(ada, "Hello, Grace")
    grace.get_by_text("Hello, Grace", exact=True).wait_for()
    say(grace, "Hello, Ada")
    ada.get_by_text("Hello, Ada", exact=True).wait_for()
    assert ada.locator("li.mine").all_inner_texts() == ["Hello, Grace"]
    assert grace.locator("li.mine").all_inner_texts() == ["Hello, Ada"]


def test_closing_a_tab_tells_the_other(context: Any, chat: Chatting) -> None:
    ada, grace = open_tab(context, chat, "Ada"), open_tab(context, chat, "Grace")
    grace.close()
    ada.get_by_text("Grace has left").wait_for()
    ada.get_by_text("Here now: Ada", exact=False).wait_for()


def test_what_looks_like_html_is_shown_as_it_was_typed(context: Any, chat: Chatting) -> None:
    ada, grace = open_tab(context, chat, "<i>Ada</i>"), open_tab(context, chat, "Grace")
    text = "<img src=x onerror='document.title = 1'><b>bold</b>"
    say(ada, text)
    grace.get_by_text(text, exact=True).wait_for()
    assert grace.locator("li b").all_inner_texts() == ["<i>Ada</i>"]
    assert grace.locator("li img").count() == 0
    assert grace.title() == "Chat"


def test_the_keyboard_is_enough(context: Any, chat: Chatting) -> None:
    tab = context.new_page()
    tab.goto(chat.url)
    tab.get_by_text("Connected").wait_for()
    tab.keyboard.type("the focus was here")
    tab.keyboard.press("Enter")
    tab.keyboard.type("and is still")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    tab.get_by_text("and is still", exact=True).wait_for()
    assert tab.locator("li.mine").all_inner_texts() == ["the focus was here", "and is still"]


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_the_page_fits_a_screen_of_any_width(context: Any, chat: Chatting, width: int) -> None:
    tab = open_tab(context, chat, "Somebody of a long name")
    tab.set_viewport_size({"width": width, "height": 600})
    for number in range(20):
        say(tab, f"{number} " + "word" * 60)
    tab.get_by_text(f"19 {'word' * 60}").wait_for()
    sizes = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert tab.evaluate(sizes) == [width, 600]
    for place in (tab.get_by_role("button"), tab.locator("li").last):
        box = place.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 600


def test_a_lost_connection_is_told_and_comes_back(context: Any, chat: Chatting) -> None:
    tab = open_tab(context, chat, "Ada")
    port = chat.url.rpartition(":")[2].rstrip("/")
    assert chat.end(signal.SIGINT) == 0
    tab.get_by_text("Connection lost").wait_for()
    assert tab.get_by_role("button").is_disabled()
    with Chatting("--port", port):
        tab.get_by_text("Connected. Here now: Ada").wait_for()
        say(tab, "here again")
        tab.get_by_text("here again", exact=True).wait_for()


@pytest.mark.parametrize("kind", ["echoText", "echoBinary"])
def test_messages_of_all_sizes_come_back(page: Any, kind: str) -> None:
    with Serving() as server:
        result = page.evaluate(f"([url, sizes]) => {kind}(url, sizes)", [server.url, SIZES])
    assert result == {"wrong": [], "end": ["close", 1000, "done", True]}


def test_a_page_sees_the_end_of_the_server_as_1001(page: Any) -> None:
    with Serving() as server:
        events = page.evaluate_handle("url => connect(url)", server.url)
        assert events.evaluate("each => each.next()") == ["open"]
        assert server.end(signal.SIGTERM) == 0
        end = events.evaluate("each => each.next()")
    assert end == ["close", 1001, "Server is shutting down", True]


def test_a_page_sees_that_its_message_was_too_large_as_1009(page: Any) -> None:
    with Serving("--max-message-size", "1000") as server:
        events = page.evaluate_handle("url => connect(url)", server.url)
        assert events.evaluate("each => each.next()") == ["open"]
        # More than the buffers of both ends hold: the Close has to come all the same.
        events.evaluate("each => each.socket.send(new ArrayBuffer(16 * 1024 * 1024))")
        kind, code, *_ = events.evaluate("each => each.next()")
    assert (kind, code) == ("close", 1009)


@pytest.mark.parametrize("code", [None, 1000, 3000, 4999])
def test_a_page_sees_its_own_code_come_back(page: Any, code: int | None) -> None:
    with Serving() as server:
        events = page.evaluate_handle("url => connect(url)", server.url)
        assert events.evaluate("each => each.next()") == ["open"]
        events.evaluate(
            "(each, code) => code ? each.socket.close(code) : each.socket.close()", code
        )
        end = events.evaluate("each => each.next()")
    assert end == ["close", code or 1005, "", True]


def test_only_a_page_of_an_origin_that_is_allowed_connects(page: Any, chat: Chatting) -> None:
    own = chat.url.rstrip("/")
    with Serving("--origin", own) as allowing, Serving("--origin", "http://a.example") as refusing:
        events = page.evaluate_handle("url => connect(url)", allowing.url)
        assert events.evaluate("each => each.next()") == ["open"]
        events = page.evaluate_handle("url => connect(url)", refusing.url)
        assert events.evaluate("each => each.next()") == ["error"]
        assert events.evaluate("each => each.next()") == ["close", 1006, "", False]

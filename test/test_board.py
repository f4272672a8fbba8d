"""The example of a drawing board, as a program; test_browser_examples.py looks at its page."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from test.helpers import TIMEOUT
from test.pages import Announced, Peer
from test.test_cli import ROOT, Program, Serving, every_engine

LINE = {"colour": 1, "width": 12, "points": [0, 0, 1000, 2000]}
#: Bytes of what was drawn that are kept for those who come later.
KEPT = 256 * 1024


class Somebody(Peer):
    """Somebody at the board."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, "ws", **options)


@pytest.fixture
def board() -> Iterator[Announced]:
    with Announced("board.py") as program:
        yield program


def drawn(heard: dict[str, Any]) -> list[int]:
    """Return the first number of each line that somebody was told of."""
    return [line["points"][0] for line in heard["drawn"]]


def test_the_page_is_at_the_address_that_is_printed(board: Announced) -> None:
    with urllib.request.urlopen(board.url, timeout=TIMEOUT) as response:
        assert b"<title>Drawing board</title>" in response.read()


@every_engine
def test_everybody_gets_what_is_drawn_and_who_comes_later_too(engine: str) -> None:
    with Serving("board:Board", "--engine", engine, cwd=ROOT / "example") as server:
        url = server.url.replace("ws", "http")
        with Somebody(url) as ada, Somebody(url) as grace:
            assert ada.hear() == grace.hear() == {"drawn": []}
            for person, width in ((ada, 2), (grace, 3)):
                person.tell({**LINE, "width": width})
                for each in (ada, grace):
                    assert each.hears(more=True)["drawn"] == [{**LINE, "width": width}]
            with Somebody(url) as late:
                assert late.hear() == {"drawn": [{**LINE, "width": 2}, {**LINE, "width": 3}]}
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.errors, server.errors


def test_who_is_here_is_told_when_somebody_comes_or_leaves(board: Announced) -> None:
    with Somebody(board.url) as ada:
        ada.hears(here=1)
        with Somebody(board.url) as grace:
            ada.hears(here=2)
            grace.hears(here=2)
            grace.terminate()
            ada.hears(here=1)


def test_a_board_that_was_cleared_is_empty_for_all(board: Announced) -> None:
    with Somebody(board.url) as ada, Somebody(board.url) as grace:
        ada.tell(LINE)
        ada.tell({"clear": True})
        grace.hears(clear=True)
        with Somebody(board.url) as late:
            assert late.hear() == {"drawn": []}


def test_of_a_long_drawing_the_newest_lines_are_kept(board: Announced) -> None:
    points = [1999] * 250
    count = 2 * KEPT // len(json.dumps(points))
    with Somebody(board.url) as ada:
        for number in range(count):
            ada.tell({**LINE, "points": [number, 0, *points]})
        while drawn(ada.hears(more=True)) != [count - 1]:
            pass
        with Somebody(board.url) as late:
            kept = late.hear()
            assert KEPT * 0.9 < len(json.dumps(kept)) < KEPT * 1.01
            assert drawn(kept) == list(range(count - len(kept["drawn"]), count))
    assert board.errors == ""


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no JSON",
        "[" * 2000,
        "[]",
        "null",
        '"drawn"',
        "1e999",
        "{}",
        '{"clear": false}',
        '{"drawn": []}',
        json.dumps({**LINE, "more": 1}),
        json.dumps({**LINE, "colour": 8}),
        json.dumps({**LINE, "colour": -1}),
        json.dumps({**LINE, "colour": True}),
        json.dumps({**LINE, "width": 0}),
        json.dumps({**LINE, "width": "12"}),
        json.dumps({**LINE, "width": float("nan")}),
        json.dumps({**LINE, "points": [0, 0]}),
        json.dumps({**LINE, "points": [0, 0, 1]}),
        json.dumps({**LINE, "points": [0, 0, 1, 1.5]}),
        json.dumps({**LINE, "points": [0, 0, 1, 10**9]}),
        json.dumps({**LINE, "points": [0, 0, 1, None]}),
        json.dumps({**LINE, "points": [0] * 258}),
        json.dumps({**LINE, "points": "0000"}),
        json.dumps({**LINE, "points": {}}),
        b"\xff\xfe\xfd",
    ],
    ids=repr,
)
def test_what_is_no_line_ends_the_connection_and_nobody_is_told(
    shared: Announced, message: str | bytes
) -> None:
    with Somebody(shared.url) as ada, Somebody(shared.url) as eve:
        ada.hears(drawn=[])
        eve.send(message, binary=isinstance(message, bytes))
        assert eve.all_events()[-1][:2] == ("closed", 1008)
        ada.tell({"clear": True})
        while (heard := ada.hear()) != {"clear": True}:
            assert set(heard) == {"here"}
    assert shared.errors == ""


@pytest.fixture(scope="module")
def shared() -> Iterator[Announced]:
    """A board for tests that leave nothing on it."""
    with Announced("board.py") as program:
        yield program


def test_a_message_that_is_far_too_long_is_refused(shared: Announced) -> None:
    with Somebody(shared.url) as eve:
        eve.send("x" * 2049)
        assert eve.all_events()[-1][:2] == ("closed", 1009)


def test_a_page_of_another_site_may_not_take_part(shared: Announced) -> None:
    other = Somebody(shared.url, headers=[("Origin", "http://evil.example")])
    other.connect()
    assert [event[:2] for event in other.all_events()] == [("opened",), ("closed", 1008)]


def test_ctrl_c_says_goodbye_to_everybody(board: Announced) -> None:
    with Somebody(board.url) as ada, Somebody(board.url) as grace:
        ada.hears(here=2)
        assert board.end(signal.SIGINT) == 0
        for person in (ada, grace):
            assert person.all_events()[-1][:2] == ("closed", 1001)
    assert board.errors == ""


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Program("example/board.py", "--host", "127.0.0.1", "--port", port) as program:
            assert program.end() == 2
            assert program.errors.count("\n") == 1
            assert port in program.errors

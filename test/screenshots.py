"""Pictures of the examples' pages: ``python -m test.screenshots FOLDER [--all]``.

``--all`` takes each page in the other theme, too: to look at after a change of a style sheet.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import cos, pi, sin
from pathlib import Path
from typing import Any, NamedTuple

from test.helpers import TIMEOUT
from test.pages import Announced
from test.test_browser import NAMES, OPTIONS
from test.test_chat import Chatting, Person
from test.test_cli import ROOT, Program

#: Where the documentation has them, and how large each may be.
IMAGES = ROOT / "docs/images"
MOST_BYTES = 120 * 1024


class Screen(NamedTuple):
    """A screen, and the theme that is shown on it."""

    width: int
    height: int
    theme: str
    is_phone: bool


SCREENS = {
    "desktop": Screen(1280, 800, "light", False),
    "phone": Screen(390, 844, "dark", True),
}
OTHER = {"light": "dark", "dark": "light"}

TALK = [
    ("Ada", "Good morning! Is everybody on the new server?"),
    ("Grace", "Since a minute ago. My phone found its way back by itself."),
    ("Ada", "Mine too. I closed the lid of the laptop, opened it, and here I was again."),
    ("Linus", "What happens to <b>markup</b> here?"),
    ("Grace", "It stays what you typed, as you see."),
]


@contextmanager
def chat(stack: ExitStack) -> Iterator[tuple[str, Any]]:
    """A chat where three talk, of whom the page is one."""
    chatting = stack.enter_context(Chatting())
    people = {name: stack.enter_context(Person(chatting, name)) for name in ("Ada", "Linus")}

    def talk(page: Any) -> None:
        page.get_by_text("Connected").wait_for()
        page.get_by_label("Your name").fill("Grace")
        page.get_by_label("Your name").press("Enter")
        page.get_by_text("is now Grace").wait_for()
        for who, text in TALK:
            if who == "Grace":
                page.get_by_label("Message", exact=True).fill(text)
                page.get_by_label("Message", exact=True).press("Enter")
            else:
                people[who].send(text)
            page.get_by_role("listitem").get_by_text(text, exact=True).wait_for()

    yield chatting.url, talk


def curve(points: list[tuple[float, float]], colour: int, width: int) -> str:
    flat = [round(each) for point in points for each in point]
    return json.dumps({"colour": colour, "width": width, "points": flat})


def arc(
    x: float, y: float, radius: float, start: float = 0, end: float = 2 * pi
) -> list[tuple[float, float]]:
    angles = [start + (end - start) * step / 40 for step in range(41)]
    return [(x + radius * cos(angle), y + radius * sin(angle)) for angle in angles]


def picture() -> Iterator[str]:
    """What somebody has drawn: a house by the hills."""
    steps = [x * 50 for x in range(1, 40)]
    yield curve([(x, 1250 - 260 * sin(x / 620)) for x in steps], 4, 16)
    yield curve([(x, 1420 + 150 * sin(x / 430 + 1)) for x in steps], 4, 22)
    yield curve(arc(1520, 430, 150), 3, 22)
    for ray in range(12):
        way = (cos(ray * pi / 6), sin(ray * pi / 6))
        yield curve([(1520 + each * way[0], 430 + each * way[1]) for each in (210, 300)], 3, 14)
    yield curve([(560, 1500), (560, 1050), (1000, 1050), (1000, 1500), (560, 1500)], 0, 16)
    yield curve([(500, 1070), (780, 800), (1060, 1070), (500, 1070)], 1, 20)
    yield curve([(720, 1500), (720, 1250), (840, 1250), (840, 1500)], 6, 14)
    yield curve([(610, 1130), (690, 1130), (690, 1210), (610, 1210), (610, 1130)], 5, 12)
    yield curve([(880, 1130), (960, 1130), (960, 1210), (880, 1210), (880, 1130)], 5, 12)
    yield curve([(1400, 1560), (1390, 1300), (1410, 1180)], 2, 34)
    for x, y, radius in ((1330, 1100, 110), (1410, 1010, 120), (1490, 1110, 110)):
        yield curve(arc(x, y, radius), 4, 18)
    for x, y in ((300, 560), (480, 420), (700, 520)):
        yield curve(arc(x - 50, y, 50, pi, 2 * pi) + arc(x + 50, y, 50, pi, 2 * pi), 0, 10)
    waves = [x * 16 for x in range(4, 122)]
    yield curve([(x, 1740 + 30 * sin(x / 60)) for x in waves], 5, 12)
    yield curve([(x, 1850 + 30 * sin(x / 60 + 2)) for x in waves], 5, 12)


@contextmanager
def board(stack: ExitStack) -> Iterator[tuple[str, Any]]:
    """A board on which somebody has drawn, before the page came."""
    drawing = stack.enter_context(Announced("board.py"))
    painter = stack.enter_context(Person(drawing))
    for line in picture():
        painter.send(line)
        painter.hears(more=True)

    def look(page: Any) -> None:
        page.get_by_text("2 are here").wait_for()

    yield drawing.url, look


@contextmanager
def sensors(stack: ExitStack) -> Iterator[tuple[str, Any]]:
    """Two phones that are walked about with."""
    server = stack.enter_context(Announced("droid_sensor_cherrypy_server.py"))
    url = server.url.replace("http", "ws") + "send"
    for name in ("Ada’s phone", "Grace’s phone"):
        phone = ("example/droid_sensor.py", "--url", url, "--rate", "25", "--name", name)
        stack.enter_context(Program(*phone))

    def look(page: Any) -> None:
        page.get_by_role("heading", name="Grace’s phone").wait_for()
        page.wait_for_timeout(10_500)  # until the plots are full

    yield server.url, look


PAGES = {"chat": chat, "board": board, "sensors": sensors}


def take(browser: Any, make: Any, screen: Screen, path: Path) -> None:
    """Take one picture."""
    with ExitStack() as stack, make(stack) as (url, prepare):
        context = browser.new_context(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme=screen.theme,
            has_touch=screen.is_phone,
            is_mobile=screen.is_phone,
        )
        context.set_default_timeout(TIMEOUT * 1000)
        page = context.new_page()
        page.goto(url)
        prepare(page)
        page.screenshot(path=path)
        context.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="in the other theme, too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=OPTIONS)
        for page, make in PAGES.items():
            for name, screen in SCREENS.items():
                path = options.folder / f"{page}-{name}.png"
                take(browser, make, screen, path)
                if options.all:
                    other = screen._replace(theme=OTHER[screen.theme])
                    take(browser, make, other, path.with_suffix(f".{other.theme}.png"))
        browser.close()


if __name__ == "__main__":
    main()

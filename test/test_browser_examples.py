"""A real browser at the examples' pages: the drawing board, and the phones that send."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from test import screenshots, test_browser
from test.autobahn.processes import free_port
from test.helpers import eventually
from test.pages import Announced
from test.test_board import Somebody
from test.test_chat import Chatting
from test.test_sensors import READING, Phone, Viewer

pytestmark = pytest.mark.browser

browser = test_browser.browser
context = test_browser.context

#: What Safari asks, and the answer of who does not want that.
SAFARI = "if (window.DeviceMotionEvent) DeviceMotionEvent.requestPermission = async () => 'denied'"

#: How many pixels of the board something is drawn on.
PAINTED = """() => {
  const {width, height} = board;
  const {data} = board.getContext("2d").getImageData(0, 0, width, height);
  return data.filter((value, i) => i % 4 === 3 && value > 0).length;
}"""


@pytest.fixture(scope="module")
def board() -> Iterator[Announced]:
    with Announced("board.py") as program:
        yield program


@pytest.fixture(scope="module")
def sensors() -> Iterator[Announced]:
    with Announced("droid_sensor_cherrypy_server.py") as program:
        yield program


def open_board(context: Any, board: Announced) -> Any:
    """Open the board in a tab, and wait until it is connected."""
    tab = context.new_page()
    tab.goto(board.url)
    tab.get_by_text("Connected").wait_for()
    return tab


def wait_painted(tab: Any, is_painted: bool = True) -> None:
    # Asked from here: what asks again within the page is refused by its Content-Security-Policy.
    eventually(lambda: (tab.evaluate(PAINTED) > 0) is is_painted)


def clear(tab: Any) -> None:
    tab.get_by_role("button", name="Clear for all").click()
    wait_painted(tab, False)


def drag(tab: Any) -> None:
    """Draw a line with the mouse."""
    box = tab.locator("#board").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    for step in range(5):
        tab.mouse.move(x + 20 * step, y + 10 * step)
    tab.mouse.up()


def test_what_is_drawn_in_one_tab_appears_in_others_and_in_those_that_come_later(
    context: Any, board: Announced
) -> None:
    ada, grace = open_board(context, board), open_board(context, board)
    ada.get_by_label("Red").check()
    ada.get_by_label("Pen width").fill("40")
    with Somebody(board.url) as listener:
        drag(ada)
        line = listener.hears(more=True)["drawn"][0]
    assert (line["colour"], line["width"]) == (1, 40)
    for tab in (ada, grace, open_board(context, board)):
        wait_painted(tab)
    clear(grace)
    wait_painted(ada, False)


def test_a_tap_makes_a_dot(context: Any, board: Announced) -> None:
    tab = open_board(context, board)
    with Somebody(board.url) as listener:
        tab.locator("#board").click(position={"x": 100, "y": 100})
        x, y, *end = listener.hears(more=True)["drawn"][0]["points"]
        assert [x, y] == end
    clear(tab)


def test_the_keyboard_is_enough_to_draw(context: Any, board: Announced) -> None:
    tab = open_board(context, board)
    tab.get_by_role("button", name="Clear for all").focus()
    with Somebody(board.url) as listener:
        for key in ("Tab", "ArrowUp", "Space", "ArrowRight", "Shift+ArrowDown"):
            tab.keyboard.press(key)
        tab.get_by_text("The pen is down").wait_for(state="attached")
        moves = [listener.hears(more=True)["drawn"][0]["points"] for _ in range(2)]
        tab.keyboard.press("Space")
        tab.get_by_text("The pen is lifted").wait_for(state="attached")
    assert moves == [[1000, 960, 1040, 960], [1040, 960, 1040, 968]]
    assert tab.locator("#cursor").is_visible()
    clear(tab)


def test_a_finger_draws_and_does_not_scroll(browser: Any, board: Announced) -> None:
    context = browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    )
    tab = open_board(context, board)
    with Somebody(board.url) as listener:
        touch = context.new_cdp_session(tab)
        for kind, points in (
            ("touchStart", [{"x": 100, "y": 300}]),
            ("touchMove", [{"x": 160, "y": 420}]),
            ("touchEnd", []),
        ):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        points = listener.hears(more=True)["drawn"][0]["points"]
    assert points[1] < points[-1]
    assert tab.evaluate("scrollY") == 0
    clear(tab)
    context.close()


def test_a_board_that_has_lost_its_server_says_so_and_comes_back_with_what_is_there(
    context: Any,
) -> None:
    port = str(free_port())
    with Announced("board.py", "--port", port) as board:
        tab = open_board(context, board)
        drag(tab)
        wait_painted(tab)
        assert board.end(signal.SIGINT) == 0
        tab.get_by_text("Connection lost").wait_for()
        assert tab.get_by_role("button", name="Clear for all").is_disabled()
    with Announced("board.py", "--port", port):
        tab.get_by_text("Connected").wait_for()
        wait_painted(tab, False)
        drag(tab)
        wait_painted(tab)


@pytest.mark.parametrize("size", [(320, 568), (844, 390), (1280, 800)], ids=str)
def test_the_board_is_square_and_within_a_screen_of_any_size(
    context: Any, board: Announced, size: tuple[int, int]
) -> None:
    width, height = size
    tab = open_board(context, board)
    tab.set_viewport_size({"width": width, "height": height})
    box = tab.locator("#board").bounding_box()
    assert box["width"] == pytest.approx(box["height"])
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] + box["height"] <= height
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def open_phone(context: Any, sensors: Announced, name: str) -> Any:
    """Open the phone's page in a tab, and begin to send."""
    tab = context.new_page()
    tab.goto(f"{sensors.url}phone")
    tab.get_by_label("Name of this phone").fill(name)
    tab.get_by_role("button", name="Start sending").click()
    tab.get_by_text("Connected", exact=True).wait_for()
    return tab


def test_a_phone_without_sensors_has_sliders_whose_tilt_is_plotted(
    context: Any, sensors: Announced
) -> None:
    dashboard = context.new_page()
    dashboard.goto(sensors.url)
    dashboard.get_by_text("No phone is sending yet").wait_for()
    phone = open_phone(context, sensors, "<b>Ada’s</b>")
    phone.get_by_text("Use the sliders").wait_for()
    card = dashboard.get_by_role("region", name="<b>Ada’s</b>")
    phone.get_by_label("Front to back").fill("90")
    for value in ("0.0 m/s²", "9.8 m/s²", "90°"):
        card.get_by_text(value, exact=True).first.wait_for()
    phone.close()
    dashboard.get_by_text("No phone is sending yet").wait_for()
    assert dashboard.get_by_role("region").count() == 0


def test_what_sensors_tell_is_sent(context: Any, sensors: Announced) -> None:
    with Viewer(sensors.url) as viewer:
        phone = open_phone(context, sensors, "Grace’s")
        phone.evaluate(
            """() => {
              dispatchEvent(new DeviceMotionEvent("devicemotion",
                {accelerationIncludingGravity: {x: 1.234, y: -2, z: 9.5}}));
              dispatchEvent(new DeviceOrientationEvent("deviceorientation",
                {alpha: 10.04, beta: -20, gamma: 30}));
            }"""
        )
        viewer.hears(acceleration=[1.23, -2, 9.5], orientation=[10.04, -20, 30])
        phone.get_by_text("own sensors are sent").wait_for()
        assert phone.get_by_label("Front to back").is_hidden()
        phone.close()


def test_a_phone_that_may_not_know_how_it_moves_has_sliders(
    context: Any, sensors: Announced
) -> None:
    context.add_init_script(SAFARI)
    phone = open_phone(context, sensors, "Linus’s")
    phone.get_by_text("may not know how the phone moves. Use the sliders").wait_for()
    assert phone.get_by_label("Compass").is_visible()


def test_the_dashboard_says_that_the_server_has_gone_and_comes_back(context: Any) -> None:
    port = str(free_port())
    with Announced("droid_sensor_cherrypy_server.py", "--port", port) as server:
        tab = context.new_page()
        tab.goto(server.url)
        with Phone(server.url, "Ada’s") as phone:
            tab.get_by_role("heading", name="Ada’s").wait_for()
            phone.tell(READING)
            tab.get_by_text("359°", exact=True).wait_for()
            assert server.end(signal.SIGINT) == 0
        tab.get_by_text("Connection lost").wait_for()
    with Announced("droid_sensor_cherrypy_server.py", "--port", port):
        tab.get_by_text("Connected", exact=True).wait_for()
        tab.get_by_text("No phone is sending yet").wait_for()


def test_the_delay_before_a_page_connects_again_grows(context: Any) -> None:
    with Chatting() as chat:
        tab = context.new_page()
        tab.clock.install()
        tab.goto(chat.url)
        tab.get_by_text("Connected").wait_for()
        assert chat.end(signal.SIGINT) == 0
    status = tab.locator("#status")
    tab.get_by_text("Connection lost. Trying again in 1 s").wait_for()

    def is_longer() -> bool:
        tab.clock.run_for(500)
        return re.search(r"in [3-9] s", status.inner_text()) is not None

    eventually(is_longer)


def test_the_pictures_of_the_pages_are_small(browser: Any, tmp_path: Any) -> None:
    for page in ("chat", "board"):
        path = tmp_path / f"{page}.png"
        screenshots.take(browser, screenshots.PAGES[page], screenshots.SCREENS["phone"], path)
        assert 10_000 < path.stat().st_size <= screenshots.MOST_BYTES


def test_the_pages_are_shown_in_the_documentation() -> None:
    names = {f"{page}-{screen}.png" for page in screenshots.PAGES for screen in screenshots.SCREENS}
    shown = {path.name: path.stat().st_size for path in screenshots.IMAGES.glob("*.png")}
    assert set(shown) == names
    page = (screenshots.IMAGES.parent / "tutorial/examples.md").read_text(encoding="utf-8")
    assert [name for name in names if f"../images/{name}" not in page] == []
    assert max(shown.values()) <= screenshots.MOST_BYTES

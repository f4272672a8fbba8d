"""The examples of phones that send how they move: the server under CherryPy, and a client."""

from __future__ import annotations

import importlib
import json
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from test.helpers import TIMEOUT, echo_server, url_of
from test.pages import Announced, Peer
from test.test_cli import ROOT, Program
from ws4py.exc import HandshakeError

READING = {"at": 50, "acceleration": [0.5, -9.8, 1], "orientation": [359, -180, 89.5]}
MOST_PHONES = 12
numbers = count()


class Phone(Peer):
    """A phone."""

    def __init__(self, url: str, name: str | None = None, **options: Any) -> None:
        super().__init__(url, "send", name, **options)


class Viewer(Peer):
    """A page that plots."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, "watch", **options)


@pytest.fixture
def name() -> str:
    """A name that no phone of another test has, which may not have left yet."""
    return f"Ada’s {next(numbers)}"


@pytest.fixture(scope="module")
def sensors() -> Iterator[Announced]:
    with Announced("droid_sensor_cherrypy_server.py") as program:
        yield program
        assert program.end(signal.SIGINT) == 0
        assert program.errors == ""


@pytest.mark.parametrize(("path", "title"), [("", b"Sensors"), ("phone", b"Phone")])
def test_both_pages_are_at_the_address_that_is_printed(
    sensors: Announced, path: str, title: bytes
) -> None:
    with urllib.request.urlopen(sensors.url + path, timeout=TIMEOUT) as response:
        assert b"<title>%s</title>" % title in response.read()


def test_a_viewer_is_told_of_phones_that_were_there_and_that_come_and_leave(
    sensors: Announced, name: str
) -> None:
    with Phone(sensors.url, name), Viewer(sensors.url) as viewer:
        first = viewer.hears(name=name)["phone"]
        with Phone(sensors.url):
            second = viewer.hears(name="Phone")["phone"]
            assert second != first
        viewer.hears(left=second)


def test_each_viewer_gets_what_a_phone_sends(sensors: Announced, name: str) -> None:
    phone, one, other = Phone(sensors.url, name), Viewer(sensors.url), Viewer(sensors.url)
    with phone, one, other:
        number = one.hears(name=name)["phone"]
        other.hears(name=name)  # else it is not there yet
        phone.tell(READING)
        for viewer in (one, other):
            assert viewer.hears(at=50) == {**READING, "phone": number}


def test_both_classes_run_on_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "example")
    module = importlib.import_module("droid_sensor_cherrypy_server")
    with echo_server({"/send": module.Phone, "/watch": module.Viewer}) as server:
        url = url_of(server)
        with Viewer(url) as viewer, Phone(url, "Ada’s") as phone:
            viewer.hears(name="Ada’s")
            phone.tell(READING)
            viewer.hears(**READING)
            phone.close()
            assert "left" in viewer.hear()


def changed(**changes: Any) -> str:
    return json.dumps({**READING, **changes})


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no JSON",
        "[" * 500,
        "null",
        "{}",
        changed(more=1),
        changed(at="now"),
        changed(at=float("inf")),
        changed(acceleration=[1, 2]),
        changed(acceleration=[1, 2, None]),
        changed(acceleration=[1, 2, True]),
        changed(acceleration=[1, 2, float("nan")]),
        changed(acceleration=[1, 2, 10**300]),
        changed(orientation="abc"),
        changed(orientation=None),
    ],
    ids=repr,
)
def test_what_is_no_reading_ends_the_connection_and_no_viewer_gets_it(
    sensors: Announced, name: str, message: str
) -> None:
    with Viewer(sensors.url) as viewer, Phone(sensors.url, name) as eve:
        number = viewer.hears(name=name)["phone"]
        eve.send(message)
        assert eve.all_events()[-1][:2] == ("closed", 1008)
        while (heard := viewer.hear()) != {"left": number}:
            assert set(heard) == {"left"}


def test_a_viewer_has_nothing_to_say(sensors: Announced) -> None:
    with Viewer(sensors.url) as viewer:
        viewer.send("x")
        assert viewer.all_events()[-1][:2] == ("closed", 1009)


def test_there_is_a_limit_to_the_number_of_phones() -> None:
    with Announced("droid_sensor_cherrypy_server.py") as server, ExitStack() as stack:
        viewer = stack.enter_context(Viewer(server.url))
        for number in range(MOST_PHONES):
            stack.enter_context(Phone(server.url, f"{number}"))
            viewer.hears(name=f"{number}")
        with Phone(server.url) as late:
            assert late.all_events()[-1][:2] == ("closed", 1013)


@pytest.mark.parametrize("kind", [Phone, Viewer])
def test_a_page_of_another_site_may_not_take_part(sensors: Announced, kind: Any) -> None:
    with pytest.raises(HandshakeError) as refused:
        kind(sensors.url, headers=[("Origin", "http://evil.example")]).connect()
    assert refused.value.status == 403


def test_the_simulated_phone_sends_plausible_readings_and_ends(sensors: Announced) -> None:
    url = f"{sensors.url.replace('http', 'ws')}send"
    options = ("--url", url, "--seconds", "0.5", "--rate", "40", "--name", "Simulated")
    with Viewer(sensors.url) as viewer, Program("example/droid_sensor.py", *options) as program:
        number = viewer.hears(name="Simulated")["phone"]
        readings = [viewer.hear() for _ in range(20)]
        assert viewer.hear() == {"left": number}
        assert program.line() == "closed: 1000 enough"
        assert program.line() == "20 readings were sent"
        assert (program.end(), program.errors) == (0, "")
    assert [reading["at"] for reading in readings] == [25 * each for each in range(20)]
    for reading in readings:
        assert 4 < sum(each**2 for each in reading["acceleration"]) ** 0.5 < 18  # g, and steps


def test_the_simulated_phone_ends_when_the_server_does() -> None:
    with Announced("droid_sensor_cherrypy_server.py") as server:
        options = ("--url", f"{server.url.replace('http', 'ws')}send", "--seconds", "1000")
        with Viewer(server.url) as viewer, Program("example/droid_sensor.py", *options) as program:
            viewer.hears(name="Simulated phone")
            assert server.end(signal.SIGINT) == 0
            assert program.line() == "closed: 1001 Server is shutting down"
            assert (program.end(), program.errors) == (0, "")


def test_the_simulated_phone_tells_in_one_line_that_nobody_is_there() -> None:
    with Program("example/droid_sensor.py", "--url", "ws://localhost:1/send") as program:
        assert program.end() == 1
        assert program.errors.count("\n") == 1
        assert "ws://localhost:1/send" in program.errors


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with Program("example/droid_sensor.py", "--rate", rate) as program:
        assert program.end() == 2
        assert f"{rate!r}" in program.errors

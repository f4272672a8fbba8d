"""The threaded client: its thread."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from test.helpers import TIMEOUT, Recorder, echo_server, url_of
from ws4py.client.threadedclient import WebSocketClient

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A threaded client that records."""


def test_callbacks_run_in_the_clients_thread() -> None:
    class Names(Client):
        def opened(self) -> None:
            self.events.put(threading.current_thread())

        def received_message(self, message: Any) -> None:
            self.events.put(threading.current_thread())

        def closed(self, code: int, reason: str | None = None) -> None:
            self.events.put(threading.current_thread())
            self.ended.set()

    with echo_server() as server:
        client = Names(url_of(server))
        client.connect()
        thread = client._th
        client.send("hello")
        assert [client.next_event(), client.next_event()] == [thread, thread]
        client.close()
        assert client.next_event() is thread
        client.run_forever()
    assert thread.name == "WebSocketClient"
    assert not thread.is_alive()


def test_the_thread_is_a_daemon_unless_it_is_told_otherwise() -> None:
    with echo_server() as server:
        client = Client(url_of(server))
        assert client.daemon
        client.daemon = False
        client.connect()
        assert client._th.daemon is False
        client.close()
        client.run_forever()
        client.connect()
        assert client._th.daemon is False
        client.close()
        client.run_forever()


def test_run_forever_returns_after_closed() -> None:
    class Slow(Client):
        def closed(self, code: int, reason: str | None = None) -> None:
            go_on.wait(TIMEOUT)
            super().closed(code, reason)

    go_on = threading.Event()
    with echo_server() as server:
        client = Slow(url_of(server))
        client.connect()
        client.close()
        waiting = threading.Thread(target=client.run_forever)
        waiting.start()
        assert waiting.is_alive()
        go_on.set()
        waiting.join(TIMEOUT)
        assert client.ended.is_set()
        client.run_forever()


def test_run_forever_of_a_client_that_is_not_connected_says_so() -> None:
    client = Client("ws://127.0.0.1:9/")
    with pytest.raises(RuntimeError, match="cannot run before it is connected"):
        client.run_forever()
    with pytest.raises(OSError):
        client.connect()
    client.run_forever()


@pytest.mark.parametrize("name", ["opened", "received_message", "closed"])
def test_run_forever_in_a_callback_says_that_it_cannot_wait(name: str) -> None:
    def wait(self: Any, *_arguments: Any) -> None:
        with pytest.raises(RuntimeError, match="a callback cannot wait for the end"):
            self.run_forever()
        said.append(name)

    said: list[str] = []
    with echo_server() as server:
        client = type("Waits", (WebSocketClient,), {name: wait})(url_of(server))
        client.connect()
        client.send("hello")
        client.close()
        client.run_forever()
    assert said == [name]


def test_a_program_ends_at_once_though_its_client_is_connected() -> None:
    program = textwrap.dedent(
        """
        import sys
        from ws4py.client.threadedclient import WebSocketClient

        client = WebSocketClient(sys.argv[1], heartbeat_freq=1000)
        client.connect()
        print("ends")
        """
    )
    with echo_server() as server:
        done = subprocess.run(
            [sys.executable, "-c", program, url_of(server)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=Path(__file__).parent.parent,
        )
    assert (done.stdout, done.stderr, done.returncode) == ("ends\n", "", 0)


def test_ctrl_c_ends_run_forever_at_once() -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        from ws4py.client.threadedclient import WebSocketClient

        class Client(WebSocketClient):
            def received_message(self, message):
                os.kill(os.getpid(), signal.SIGINT)
            def opened(self):
                self.send("go")

        client = Client(sys.argv[1])
        try:
            client.connect()
            client.run_forever()
        except KeyboardInterrupt:
            client.close()
            client.run_forever()
            print("ends", client.close_code)
        """
    )
    with echo_server() as server:
        done = subprocess.run(
            [sys.executable, "-c", program, url_of(server)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=Path(__file__).parent.parent,
        )
    assert done.stdout == "ends 1000\n", done.stderr


def test_close_in_opened_and_in_received_message_ends_it() -> None:
    class Dummy(Client):
        def opened(self) -> None:
            self.send("#" * size for size in range(1, 200, 25))
            for size in range(0, 200, 25):
                self.send("*" * size)

        def received_message(self, message: Any) -> None:
            super().received_message(message)
            if len(message) == 175:
                self.close(reason="Bye bye")

    with echo_server() as server:
        client = Dummy(url_of(server))
        client.connect()
        client.run_forever()
    assert client.all_events()[-2:] == [("text", b"*" * 175), ("closed", 1000, "Bye bye")]


def test_a_client_with_coroutines_is_refused_before_it_connects() -> None:
    class Waits(WebSocketClient):
        async def opened(self) -> None:
            pass

    client = Waits("ws://localhost:1/")
    with pytest.raises(TypeError, match=r"Waits\.opened is a coroutine function"):
        client.connect()
    client.close_connection()


@pytest.mark.parametrize("which", ["WebSocketClient", "Heartbeat"])
def test_a_client_without_a_thread_is_not_connected(
    monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == which:
            raise RuntimeError("can't start new thread")
        start(thread)

    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    with echo_server() as server:
        client = Client(url_of(server), heartbeat_freq=60)
        monkeypatch.setattr(threading.Thread, "start", fail)
        if which == "WebSocketClient":
            with pytest.raises(RuntimeError, match="new thread"):
                client.connect()
            assert client.events.empty()
        else:
            client.connect()
            client.run_forever()
            assert client.all_events() == [("closed", 1006, "Going away")]
            assert "new thread" in str(caught[0].exc_value)
        assert client.sock is None
        monkeypatch.undo()
        client.connect()
        client.close()
        client.run_forever()
        assert client.all_events()[-1] == ("closed", 1000, "")

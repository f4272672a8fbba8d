"""The queue: what leaves together, in which order, and who may write in between."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from test.helpers import (
    TIMEOUT,
    RecordingSocket,
    RecordingWebSocket,
    eventually,
    frame,
    read_exactly,
    read_to_end,
)
from ws4py.limits import Limits
from ws4py.receiving import Receiver
from ws4py.websocket import EchoWebSocket, WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Writes(RecordingSocket):
    """Keeps what is sent by each write."""

    def __init__(self, *incoming: bytes) -> None:
        super().__init__(*incoming)
        self.writes: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        super().sendall(data)
        self.writes.append(bytes(data))


def run(ws: WebSocket) -> threading.Thread:
    thread = threading.Thread(target=ws.run)
    thread.start()
    return thread


def end(ws: WebSocket, thread: threading.Thread) -> None:
    ws.terminate()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


@pytest.fixture
def never_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing that gathers become too old, however slow the machine is."""
    monkeypatch.setattr(Receiver, "_goes_on", lambda *_: True)


def test_answers_to_messages_that_came_together_leave_together(never_old: None) -> None:
    sock = Writes(frame(1, b"x") * 100)
    EchoWebSocket(sock).run()
    assert sock.writes == [b"\x81\x01x" * 100]


def test_without_gathering_each_answer_leaves_alone() -> None:
    class Alone(EchoWebSocket):
        gather = False

    sock = Writes(frame(1, b"x") * 100)
    Alone(sock).run()
    assert sock.writes == [b"\x81\x01x"] * 100


def test_the_answer_to_the_last_message_leaves_at_once(never_old: None) -> None:
    class Looks(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            seen.append(len(sock.writes))

    seen: list[int] = []
    sock = Writes(frame(1, b"1") + frame(1, b"2"), frame(1, b"3"))
    Looks(sock).run()
    assert seen == [0, 1, 2]


def test_answers_leave_when_the_chunk_ends_within_a_frame() -> None:
    sock = Writes(frame(1, b"1") + frame(1, b"2")[:3])
    EchoWebSocket(sock).run()
    assert sock.writes == [b"\x81\x011"]


def test_flush_sends_what_has_gathered(never_old: None) -> None:
    class Flushes(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            self.flush()
            seen.append(bytes(sock.sent))

    seen: list[bytes] = []
    sock = Writes(frame(1, b"1") + frame(1, b"2"))
    Flushes(sock).run()
    assert seen == [b"\x81\x011", b"\x81\x011\x81\x012"]


def test_what_gathers_is_written_at_64_kib(never_old: None) -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(b"x" * 1020, binary=True)

    sock = Writes(frame(1, b"") * 200)
    Answers(sock).run()
    assert [len(write) for write in sock.writes] == [65536, 65536, 65536, 8 * 1024]


def test_what_gathers_is_written_when_it_is_old() -> None:
    class Slow(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            threading.Event().wait(0.01)

    sock = Writes(frame(1, b"1") + frame(1, b"2") + frame(1, b"3"))
    Slow(sock).run()
    assert sock.writes == [b"\x81\x011", b"\x81\x012", b"\x81\x013"]


@pytest.mark.parametrize("how", ["close", "ping", "large", "generator"])
def test_what_gathered_goes_before_anything_else(how: str, never_old: None) -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            if message.data == b"2":
                {
                    "close": lambda: self.close(4000),
                    "ping": lambda: self.ping("!"),
                    "large": lambda: self.send(b"x" * 20_000, binary=True),
                    "generator": lambda: self.send(c for c in "ab"),
                }[how]()

    sock = Writes(frame(1, b"1") + frame(1, b"2") + frame(1, b"3"))
    Answers(sock).run()
    sent = bytes(sock.sent)
    assert sent.startswith(b"\x81\x011\x81\x012")
    assert sent.endswith(b"\x81\x013") or how == "close"


def test_a_send_of_another_thread_goes_behind_what_gathered() -> None:
    class Answers(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            if message.data == b"1":
                other = threading.Thread(target=self.send, args=("other",))
                other.start()
                other.join(TIMEOUT)

    sock = Writes(frame(1, b"1") + frame(1, b"2"))
    Answers(sock).run()
    assert sock.sent.startswith(b"\x81\x011\x81\x05other")
    assert sock.sent.count(b"\x81\x012") == 1


def test_every_sender_keeps_its_order_while_answers_gather(pair: Any) -> None:
    ours, theirs = pair
    ws = EchoWebSocket(ours)
    thread = run(ws)

    def send(name: str) -> None:
        for number in range(300):
            ws.send(f"{name}{number:03d}")

    def ask() -> None:
        for begin in range(0, 300, 50):
            theirs.sendall(b"".join(frame(1, b"e%03d" % n) for n in range(begin, begin + 50)))

    threads = [threading.Thread(target=send, args=(name,)) for name in "ab"]
    threads.append(threading.Thread(target=ask))
    for each in threads:
        each.start()
    heard: dict[str, list[int]] = {}
    for _ in range(900):
        text = read_exactly(theirs, 6)[2:].decode()
        heard.setdefault(text[0], []).append(int(text[1:]))
    for each in threads:
        each.join(TIMEOUT)
    assert heard == {name: list(range(300)) for name in "abe"}
    end(ws, thread)


def test_an_exception_loses_no_answer_before_it() -> None:
    class Fails(WebSocket):
        def received_message(self, message: Any) -> None:
            self.send(message.data)
            if message.data == b"2":
                raise LookupError("a fault of the application")

    sock = Writes(frame(1, b"1") + frame(1, b"2") + frame(1, b"3"))
    Fails(sock).run()
    assert sock.sent.startswith(b"\x81\x011\x81\x012\x88")


def test_a_thread_waits_until_the_peer_reads(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    done = threading.Event()

    def send() -> None:
        ws.send(b"x" * 5_000_000, binary=True)
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert not done.wait(0.1)
    assert len(read_exactly(theirs, 5_000_010)) == 5_000_010
    assert done.wait(TIMEOUT)
    sender.join(TIMEOUT)
    ws.terminate()


def test_a_thread_that_waits_for_a_dead_peer_gives_up_after_the_write_timeout(pair: Any) -> None:
    class Hasty(RecordingWebSocket):
        limits = Limits(write_timeout=0.1)

    ws = Hasty(pair[0])
    with pytest.raises(RuntimeError, match="Cannot send on a terminated websocket"):
        while True:
            ws.send(b"x" * 1_000_000, binary=True)
    assert ws.all_events() == [("closed", 1006, "the peer took nothing in 0.1 s")]


@pytest.mark.parametrize("who", ["terminate", "peer", "close_connection"])
def test_a_thread_that_waits_learns_of_the_end(pair: Any, who: str) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    thread = run(ws)
    errors: list[str] = []

    def send() -> None:
        try:
            while True:
                ws.send(b"x" * 1_000_000, binary=True)
        except RuntimeError as error:
            errors.append(str(error))

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    eventually(lambda: bool(ws._outgoing))
    {"terminate": ws.terminate, "peer": theirs.close, "close_connection": ws.close_connection}[
        who
    ]()
    for sender in senders:
        sender.join(TIMEOUT)
        assert not sender.is_alive()
    assert errors == ["Cannot send on a terminated websocket"] * 3
    thread.join(TIMEOUT)
    assert ws.all_events()[-1][:2] == ("closed", 1006)


def test_what_is_sent_after_close_is_dropped(pair: Any) -> None:
    ours, theirs = pair
    ws = WebSocket(ours)
    ws.close(4000)
    ws.send("too late")
    ws.ping("too late")
    ws.send(chunk for chunk in "too late")
    ws.terminate()
    assert read_to_end(theirs) == b"\x88\x02\x0f\xa0"


def test_a_send_on_a_connection_that_the_peer_has_reset_is_an_error(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    theirs.close()
    with pytest.raises(RuntimeError, match="Cannot send on a terminated websocket"):
        ws.send("nobody hears")
    (event,) = ws.all_events()
    assert event[:2] == ("closed", 1006)
    assert event[2].startswith("sending failed: ")


def test_close_on_a_connection_that_the_peer_has_reset_is_silent(pair: Any) -> None:
    ours, theirs = pair
    ws = RecordingWebSocket(ours)
    theirs.close()
    ws.close()
    ws.close()
    assert ws.all_events()[-1][:2] == ("closed", 1006)

"""Methods that are compiled for the plain case: whatever is not plain goes the way it always went.

What they do with plain messages, the tests of all engines show; these are about what lies beside.
"""

from __future__ import annotations

import inspect
import socket
import sys
import threading
from typing import Any

import pytest

from test.alone import Alone, blocks_left, counts_blocks
from test.helpers import TIMEOUT, RecordingWebSocket, eventually, frame, read_exactly, read_to_end
from ws4py import masking
from ws4py.framing import encode_header
from ws4py.limits import Limits
from ws4py.messaging import TextMessage
from ws4py.sending import Sender
from ws4py.websocket import EchoWebSocket, WebSocket

SMALL = b"x" * 16


@pytest.fixture
def echo(connect: Any) -> Any:
    """A managed websocket that has echoed once, so that all that is looked up has been."""
    return echoing(connect, EchoWebSocket)


def echoing(connect: Any, handler: Any) -> Any:
    ws, peer = connect(handler)
    peer.sendall(frame(1, b"first"))
    assert read_exactly(peer, 7) == b"\x81\x05first"
    return ws, peer


def test_they_look_like_the_methods_they_stand_for() -> None:
    for method in (WebSocket.once, WebSocket.send, Sender.send, WebSocket._parse):
        assert inspect.isroutine(method)
    assert list(inspect.signature(WebSocket.send).parameters)[1:] == [
        "payload",
        "binary",
        "compress",
    ]
    assert WebSocket.send.__name__ == "send"
    assert (WebSocket.send.__doc__ or "").startswith("Send a message.")
    assert WebSocket.send.__module__ == "ws4py.sending"
    assert WebSocket.send is Sender.send
    bound = EchoWebSocket(socket.socket()).send
    assert bound.__name__ == "send"


def test_called_with_what_they_do_not_take_they_complain_as_methods_do() -> None:
    send: Any = WebSocket.send
    with pytest.raises(TypeError, match="payload"):
        send()
    with pytest.raises(AttributeError):
        send(object(), b"payload")
    ws: Any = WebSocket(socket.socket())
    for arguments in ((), (b"", False, True, 1)):
        with pytest.raises(TypeError, match="send"):
            ws.send(*arguments)
    with pytest.raises(TypeError, match="wrong"):
        ws.send(b"", wrong=1)


@pytest.mark.parametrize(
    ("payload", "options", "sent"),
    [
        ("text", {}, b"\x81\x04text"),
        ("täxt", {}, b"\x81\x05t\xc3\xa4xt"),
        ("", {}, b"\x81\x00"),
        (b"bytes", {}, b"\x81\x05bytes"),
        (b"bytes", {"binary": True}, b"\x82\x05bytes"),
        (bytearray(b"array"), {"binary": True}, b"\x82\x05array"),
        (TextMessage("message"), {}, b"\x81\x07message"),
        (b"y" * 200, {}, b"\x81\x7e\x00\xc8" + b"y" * 200),
    ],
    ids=lambda value: str(value)[:12],
)
def test_payloads_of_all_kinds(echo: Any, payload: Any, options: Any, sent: bytes) -> None:
    ws, peer = echo
    ws.send(payload, **options)
    assert read_exactly(peer, len(sent)) == sent
    ws.send(payload, options.get("binary", False), False)
    assert read_exactly(peer, len(sent)) == sent


@pytest.mark.parametrize("size", [16383, 16384, 65535, 65536])
@pytest.mark.parametrize("payload", ["x", b"x"], ids=["text", "bytes"])
def test_payloads_at_the_bounds_of_what_is_compiled(echo: Any, payload: Any, size: int) -> None:
    ws, peer = echo
    for _ in range(2):
        ws.send(payload * size)
        head = encode_header(1, 1, size)
        assert read_exactly(peer, len(head) + size) == head + b"x" * size


@pytest.mark.parametrize("room", [4096, 16384, 1 << 20])
def test_answers_of_all_sizes_to_what_came_together_are_in_order(echo: Any, room: int) -> None:
    """Of those that gathered the kernel may take any part."""
    ws, peer = echo
    ws._transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    times = {5: 3300, 6: 3300, 23: 5000}
    payloads = [b"%05d" % n * times.get(n % 24, 100) for n in range(48)]
    peer.sendall(b"".join(frame(1, payload) for payload in payloads))
    for payload in payloads:
        head = encode_header(1, 1, len(payload))
        assert read_exactly(peer, len(head) + len(payload)) == head + payload


def test_bad_payloads_are_refused_as_ever(echo: Any) -> None:
    ws, _ = echo
    for payload, binary in (("text", True), (17, False), (None, False)):
        with pytest.raises((TypeError, ValueError)):
            ws.send(payload, binary)


@pytest.mark.parametrize("times", [1, 1100, 4000])
def test_what_the_kernel_does_not_take_is_queued_and_arrives_in_order(
    echo: Any, times: int
) -> None:
    ws, peer = echo
    ws.limits = Limits(high_water=4 * 1024 * 1024)
    count = 0
    while not ws._outgoing:
        ws.send(b"%015d." % count * times)
        count += 1
    for number in range(count, count + 20):
        ws.send(b"%015d." % number * times)
    head = encode_header(1, 1, 16 * times)
    for number in range(count + 20):
        assert read_exactly(peer, len(head) + 16 * times) == head + b"%015d." % number * times


def test_threads_that_send_at_the_same_time_do_not_mix_their_frames(echo: Any) -> None:
    ws, peer = echo
    threads = [
        threading.Thread(target=lambda n=n: [ws.send(b"%d" % n * 700) for _ in range(400)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    counts = dict.fromkeys(b"0123", 0)
    for _ in range(1600):
        assert read_exactly(peer, 4) == b"\x81\x7e\x02\xbc"
        body = read_exactly(peer, 700)
        assert body == body[:1] * 700
        counts[body[0]] += 1
    assert set(counts.values()) == {400}
    for thread in threads:
        thread.join(TIMEOUT)


def test_a_socket_that_was_closed_by_hand_is_not_written_to_another_one(echo: Any) -> None:
    ws, peer = echo
    fd = ws.sock.fileno()
    ws.sock.close()
    others = [socket.socketpair() for _ in range(3)]
    assert fd in [end.fileno() for pair in others for end in pair]
    with pytest.raises(RuntimeError):
        ws.send(b"for nobody")
        ws.send(b"for nobody")
    for pair in others:
        for end in pair:
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(100)
    for pair in others:
        for end in pair:
            end.close()
    assert read_to_end(peer) == b""


def test_an_exception_of_a_callback_closes_and_what_follows_is_not_handled(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            raise LookupError(message.data)

    ws, peer = connect(Fails)
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(8, b"\x03\xe8"))
    assert read_exactly(peer, 4) == b"\x88\x10\x03\xf3"
    assert ws.all_events() == [("opened",), ("text", b"one"), ("closed", 1000, "")]
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert record.exc_info[2] is not None


def test_a_callback_that_exits_ends_its_connection_alone(connect: Any) -> None:
    class Exits(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            sys.exit(message.data)

    ws, _ = peer = connect(Exits)
    peer[1].sendall(frame(1, b"one") * 3)
    assert ws.all_events()[-1][:2] == ("closed", 1006)
    echoing(connect, EchoWebSocket)


def test_after_close_in_a_callback_messages_still_come_and_answers_do_not(connect: Any) -> None:
    class Closes(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.send(message.data)
            self.close(4000)

    ws, peer = connect(Closes)
    peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(8, b"\x0f\xa0"))
    assert read_to_end(peer) == b"\x81\x03one\x88\x02\x0f\xa0"
    assert ws.all_events()[1:-1] == [("text", b"one"), ("text", b"two")]


def test_terminate_in_a_callback_is_the_end(connect: Any) -> None:
    class Ends(RecordingWebSocket):
        def received_message(self, message: Any) -> None:
            super().received_message(message)
            self.terminate()

    ws, peer = connect(Ends)
    peer.sendall(frame(1, b"one") + frame(1, b"two"))
    assert ws.all_events()[1:] == [("text", b"one"), ("closed", 1006, "Going away")]


def test_limits_of_an_object_and_new_ones_count_at_once(echo: Any) -> None:
    ws, peer = echo
    ws.limits = Limits(max_message_size=4)
    peer.sendall(frame(1, b"four") + frame(1, b"5five"))
    assert read_exactly(peer, 6) == b"\x81\x04four"
    assert read_exactly(peer, 4)[:1] == b"\x88"


def test_no_fragments_at_all_is_a_limit_too(echo: Any) -> None:
    ws, peer = echo
    ws.limits = Limits(max_fragments=0)
    peer.sendall(frame(1, b"a"))
    assert read_exactly(peer, 4)[2:] == b"\x03\xf0"


def test_process_of_a_subclass_sees_all_that_is_read(connect: Any) -> None:
    class Sees(EchoWebSocket):
        seen = b""

        def process(self, data: bytes) -> bool:
            self.seen += data
            return super().process(data)

    ws, _ = echoing(connect, Sees)
    assert ws.seen == frame(1, b"first")


def test_write_of_a_subclass_sees_all_that_is_sent() -> None:
    class Notes(WebSocket):
        def _write(self, data: Any, payload: bytes = b"") -> None:
            notes.append(bytes(data) + payload)
            super()._write(data, payload)

    notes: list[bytes] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        noting, other = Notes(ours), WebSocket(theirs)
        for ws in (noting, other, noting):
            ws.send("a")
        noting.ping("b")
    assert notes == [b"\x81\x01a", b"\x81\x01a", b"\x89\x01b"]


def test_a_reading_size_of_an_object_is_kept(echo: Any) -> None:
    ws, peer = echo
    ws.reading_buffer_size = 5
    peer.sendall(frame(1, SMALL) * 3)
    assert read_exactly(peer, 54) == (b"\x81\x10" + SMALL) * 3


def test_send_may_be_replaced_on_the_object(connect: Any) -> None:
    ws, peer = connect(EchoWebSocket)
    sent: list[Any] = []
    ws.send = lambda *arguments: sent.append(arguments)
    peer.sendall(frame(1, b"a"))
    eventually(lambda: sent == [(b"a", False)])


@pytest.mark.parametrize("cut", range(1, 23))
def test_frames_that_are_cut_anywhere(echo: Any, cut: int) -> None:
    _, peer = echo
    both = frame(1, SMALL) + frame(1, SMALL)
    peer.sendall(both[:cut])
    if cut > 21:
        assert read_exactly(peer, 18) == b"\x81\x10" + SMALL
    peer.sendall(both[cut:] + frame(9, b"p") + frame(1, b"z"))
    rest = (b"\x81\x10" + SMALL) * (1 if cut > 21 else 2) + b"\x8a\x01p\x81\x01z"
    assert read_exactly(peer, len(rest)) == rest


def test_what_came_before_what_is_wrong_is_answered(echo: Any) -> None:
    _, peer = echo
    peer.sendall(frame(1, b"a") + frame(1, b"\xff"))
    assert read_exactly(peer, 7)[:3] == b"\x81\x01a"


def test_a_message_may_be_given_attributes(connect: Any) -> None:
    class Marks(EchoWebSocket):
        def received_message(self, message: Any) -> None:
            message.mark = 1
            assert vars(message) == {"mark": 1}
            super().received_message(message)

    echoing(connect, Marks)


def blocks_left_by_turns() -> int:
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    ours.setblocking(False)
    ws = EchoWebSocket(ours)

    def step() -> None:
        for payload, count in ((SMALL, 1), (SMALL, 7), (SMALL * 1200, 1), (SMALL * 1200, 3)):
            theirs.sendall(frame(1, payload) * count)
            assert ws.once()
            answers = (encode_header(1, 1, len(payload)) + payload) * count
            assert read_exactly(theirs, len(answers)) == answers

    left = blocks_left(step, 200)
    ws.terminate()
    theirs.close()
    return left


@counts_blocks
def test_turns_leave_nothing_behind(alone: Alone) -> None:
    assert alone(blocks_left_by_turns) < 100


def test_what_has_no_compiled_counterpart_stays_as_it_is() -> None:
    def other() -> None:
        """Do nothing."""

    assert masking.hasten(other) is other

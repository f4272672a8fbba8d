"""The closing handshake, and ends without one."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest

from test.conformance import CLOSE, PONG, TEXT, Acting, Link
from test.helpers import TIMEOUT, Recorder
from ws4py.limits import Limits


class Closing:
    """The closing handshake, and ends without one."""

    def test_we_close_and_the_peer_answers(self, link: Link) -> None:
        ws, peer = link()
        ws.close(4001, "bye")
        assert peer.close_frame() == (4001, "bye")
        peer.send_close(4002, b"you too")
        peer.leave()
        assert ws.all_events() == [("opened",), ("closed", 4002, "you too")]
        assert (ws.close_code, ws.close_reason) == (4002, "you too")

    def test_the_peer_closes_and_is_answered(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(1001, "à bientôt".encode())
        assert peer.close_frame() == (1001, "à bientôt")
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 1001, "à bientôt")

    def test_an_empty_close_is_answered_empty(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(None)
        assert peer.close_frame() is None
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 1005, "")

    def test_both_sides_close_at_once(self, link: Link) -> None:
        ws, peer = link()
        peer.send_close(4001)
        ws.close(4002)
        assert peer.close_frame() in [(4001, ""), (4002, "")]
        peer.leave()
        assert ws.all_events()[-1] == ("closed", 4001, "")

    def test_a_second_close_says_nothing(self, link: Link) -> None:
        ws, peer = link()
        ws.close(4001)
        ws.close(4002)
        assert peer.close_frame() == (4001, "")
        peer.send_close(4001)
        peer.leave()
        ws.all_events()
        ws.close()

    @pytest.mark.parametrize("code", [0xFFFF + 1, 999, 1004, 1006, 1015, 1016, 2999, 5000])
    def test_a_code_that_is_none_is_not_sent(self, link: Link, code: int) -> None:
        ws, _ = link()
        with pytest.raises(ValueError, match=str(code)):
            ws.close(code)
        assert not ws.close_sent

    def test_a_peer_that_does_not_answer_a_close_is_dropped(self, link: Link) -> None:
        class Impatient(Recorder):
            limits = Limits(close_timeout=0.1)

        ws, peer = link(Impatient)
        ws.close(1001)
        assert peer.close_frame() == (1001, "")
        assert ws.all_events()[-1][:2] == ("closed", 1006)
        peer.expect_end()

    def test_a_peer_that_goes_on_sending_after_a_close_is_dropped(self, link: Link) -> None:
        class Impatient(Recorder):
            limits = Limits(close_timeout=0.3)

        ws, peer = link(Impatient)
        ws.close()
        try:
            while not ws.ended.wait(0.01):
                peer.send(TEXT, b"and another thing")
        except (ConnectionError, ssl.SSLError):
            pass
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_a_peer_that_vanishes_is_closed_with_1006(self, link: Link) -> None:
        ws, peer = link()
        peer.sock.close()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

    def test_terminate_ends_without_a_handshake(self, link: Link) -> None:
        ws, peer = link()
        ws.terminate()
        assert ws.all_events() == [("opened",), ("closed", 1006, "Going away")]
        peer.expect_end()

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged", "closed"])
    def test_terminate_in_a_callback_ends_after_it(self, link: Link, where: str) -> None:
        class Ends(Acting):
            pass

        Ends.where, Ends.act = where, lambda self: self.terminate()
        ws, peer = link(Ends)
        if where in ("received_message", "ponged"):
            peer.send(PONG)
            peer.send(TEXT, b"go")
        elif where == "closed":
            peer.sock.close()
        events = ws.all_events()
        assert events[0] == ("opened",)
        assert events[-1][:2] == ("closed", 1006)
        assert [event[0] for event in events].count("closed") == 1

    @pytest.mark.parametrize("where", ["opened", "received_message", "ponged"])
    def test_close_in_a_callback_begins_the_handshake(self, link: Link, where: str) -> None:
        class Closes(Acting):
            pass

        Closes.where, Closes.act = where, lambda self: self.close(4000, "enough")
        ws, peer = link(Closes)
        peer.send(PONG)
        peer.send(TEXT, b"go")
        opcode, payload = peer.message()
        if where != "opened" and opcode == TEXT:
            opcode, payload = peer.message()
        assert (opcode, payload) == (CLOSE, b"\x0f\xa0enough")
        peer.send_close(4000)
        peer.leave()
        assert ws.all_events()[-1][0] == "closed"

    def test_many_threads_that_close_and_terminate_end_it_once(self, link: Link) -> None:
        ws, _ = link()
        together = threading.Barrier(6)

        def finish(act: Any) -> None:
            together.wait(TIMEOUT)
            act()

        acts = [ws.close, ws.terminate, ws.close_connection] * 2
        threads = [threading.Thread(target=finish, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        events = ws.all_events()
        assert [event[0] for event in events] == ["opened", "closed"]

    def test_close_connection_leads_to_closed(self, link: Link) -> None:
        ws, peer = link()
        ws.close_connection()
        assert ws.sock is None
        peer.expect_end()
        assert ws.all_events()[-1][:2] == ("closed", 1006)

"""Programs that override what ends a connection, as many clean up there."""

from __future__ import annotations

from typing import Any

import pytest

from test.conformance import Link, end
from test.helpers import Recorder, eventually


class Overriding:
    """Programs that override what ends a connection, as many clean up there."""

    def test_a_close_of_a_program_answers_the_peers(self, plain_link: Link) -> None:
        class Answers(Recorder):
            def close(self, code: int = 1000, reason: Any = "") -> Any:
                self.events.put(("close", code, reason))
                return super().close(4009, "ours")  # type: ignore[misc]

        ws, peer = plain_link(Answers)
        peer.send_close(4001, "à bientôt".encode())
        assert peer.close_frame() == (4009, "ours")
        peer.leave()
        told = ("close", 4001, "à bientôt")
        assert ws.all_events() == [("opened",), told, ("closed", 4001, "à bientôt")]

    def test_a_close_that_does_not_close_is_followed_by_the_ordinary_answer(
        self, plain_link: Link
    ) -> None:
        class Looks(Recorder):
            def close(self, code: int = 1000, reason: Any = "") -> Any:
                self.events.put(("close", code, reason))

        ws, peer = plain_link(Looks)
        peer.send_close(None)
        assert peer.close_frame() is None
        peer.leave()
        assert ws.all_events() == [("opened",), ("close", 1005, ""), ("closed", 1005, "")]

    def test_a_close_of_a_program_is_not_called_by_what_answers_ours(
        self, plain_link: Link
    ) -> None:
        class Counts(Recorder):
            closes = 0

            def close(self, *args: Any, **kwargs: Any) -> Any:
                self.closes += 1
                return super().close(*args, **kwargs)  # type: ignore[misc]

        ws, peer = plain_link(Counts)
        ws.close(4001)
        assert peer.close_frame() == (4001, "")
        peer.send_close(4001)
        peer.leave()
        ws.all_events()
        assert ws.closes == 1

    @pytest.mark.parametrize("does", ["close_connection", "terminate", "nothing", "fail"])
    def test_a_close_connection_of_a_program_is_called_once_after_closed(
        self, link: Link, does: str
    ) -> None:
        class Cleans(Recorder):
            def close_connection(self) -> None:
                self.events.put(("close_connection", self.stream is None))  # type: ignore[attr-defined]
                if does == "fail":
                    raise LookupError("a fault of the application")
                if does == "close_connection":
                    super().close_connection()  # type: ignore[misc]
                elif does == "terminate":
                    self.terminate()  # type: ignore[attr-defined]

        ws, peer = link(Cleans)
        end(peer)
        eventually(lambda: ws.stream is None, "it was not let go of")
        assert ws.sock is None
        opened, (closed, *_), called = ws.all_events()
        assert (opened, closed, called) == (("opened",), "closed", ("close_connection", False))

    def test_a_close_connection_of_a_program_is_called_at_every_end(self, plain_link: Link) -> None:
        class Cleans(Recorder):
            def close_connection(self) -> None:
                self.events.put(("close_connection",))
                super().close_connection()  # type: ignore[misc]

        terminated, one = plain_link(Cleans)
        left, two = plain_link.again()
        closed, three = plain_link.again()
        terminated.terminate()
        two.sock.close()
        closed.close(4001)
        assert three.close_frame() == (4001, "")
        three.send_close(4001)
        three.leave()
        for ws in (terminated, left, closed):
            eventually(lambda ws=ws: ws.stream is None, "it was not let go of")
            events = [event[0] for event in ws.all_events()]
            assert events == ["opened", "closed", "close_connection"]
        one.sock.close()

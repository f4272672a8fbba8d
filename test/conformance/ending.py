"""What is left when it is over."""

from __future__ import annotations

import threading

import pytest

from test.conformance import Link, end
from test.helpers import TIMEOUT, Recorder


class Ending:
    """What is left when it is over."""

    @pytest.mark.parametrize("method", ["send", "ping"])
    def test_what_is_sent_after_the_end_is_an_error(self, link: Link, method: str) -> None:
        ws, peer = link()
        end(peer)
        ws.all_events()
        with pytest.raises(RuntimeError, match=r"^Cannot send on a terminated websocket$"):
            getattr(ws, method)("too late")

    def test_nothing_can_be_sent_or_closed_within_closed(self, link: Link) -> None:
        class Late(Recorder):
            def closed(self, code: int, reason: str | None = None) -> None:
                self.close()
                with pytest.raises(RuntimeError) as caught:
                    self.send("too late")
                self.error = str(caught.value)
                super().closed(code, reason)

        ws, peer = link(Late)
        end(peer)
        ws.all_events()
        assert ws.error == "Cannot send on a terminated websocket"

    def test_stream_and_environ_are_there_within_closed_and_not_after(self, link: Link) -> None:
        class Looks(Recorder):
            def closed(self, code: int, reason: str | None = None) -> None:
                self.seen = self.stream.closing.code, type(self.environ)
                super().closed(code, reason)

        ws, peer = link(Looks)
        end(peer, 4321)
        ws.all_events()
        assert ws.seen == (4321, type(None) if link.engine.is_client else dict)

    def test_everything_is_let_go_at_the_end(self, link: Link) -> None:
        ws, peer = link()
        threads = set(threading.enumerate())
        end(peer)
        ws.all_events()
        for thread in threads:
            if thread.name in ("WebSocketClient", "Thread"):
                thread.join(TIMEOUT)
        pause = threading.Event()
        while ws.sock is not None or ws.stream is not None:
            assert not pause.wait(0.001)
        assert (ws.environ, ws.terminated) == (None, True)
        assert (ws.client_terminated, ws.server_terminated) == (True, True)

"""What a client makes of a server's answer."""

from __future__ import annotations

import pytest

from test.conformance import TEXT, Echo, Link
from ws4py.exc import HandshakeError


class Connecting:
    """What a client does."""

    def test_the_subprotocol_that_the_server_picks_is_known(self, client_link: Link) -> None:
        answer = b"Sec-WebSocket-Protocol: chat\r\n"
        ws, _ = client_link(protocols=["other", "chat"], answer=answer)
        assert b"\r\nSec-WebSocket-Protocol: other, chat\r\n" in client_link.head
        assert ws.protocols == ["chat"]

    def test_a_subprotocol_that_was_not_offered_is_refused(self, client_link: Link) -> None:
        answer = b"Sec-WebSocket-Protocol: chat\r\n"
        with pytest.raises(HandshakeError, match="chat"):
            client_link(protocols=["other"], answer=answer)

    def test_a_refusal_tells_its_status_headers_and_body(self, client_link: Link) -> None:
        answer = b"HTTP/1.1 401 No\r\nX-Why: because\r\nContent-Length: 5\r\n\r\nleave"
        with pytest.raises(HandshakeError, match="401") as caught:
            client_link(answer=answer)
        error = caught.value
        assert (error.status, error.body) == (401, b"leave")
        assert ("X-Why", "because") in error.headers

    def test_after_a_refusal_another_client_connects(self, client_link: Link) -> None:
        with pytest.raises(HandshakeError):
            client_link(Echo, answer=b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
        _, peer = client_link.again(answer=b"")
        peer.send(TEXT, b"hello")
        assert peer.message() == (TEXT, b"hello")

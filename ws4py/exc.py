"""Every error that ws4py raises on its own account."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "FrameTooLargeException",
    "HandshakeError",
    "HandshakeTimeout",
    "InvalidBytesError",
    "ProtocolException",
    "QueueFull",
    "StreamClosed",
    "Terminated",
    "TextFrameEncodingException",
    "UnsupportedFrameTypeException",
    "WebSocketException",
]


class WebSocketException(Exception):
    """Base of the errors below, but for :exc:`StreamClosed`.

    ``code`` is the close code (:rfc:`6455#section-7.4.1`) that tells the peer about it.
    """

    code = 1002


class ProtocolException(WebSocketException):
    """The peer broke :rfc:`6455`; or, with its code 1008, a limit that is not about size."""

    def __init__(self, message: str = "", code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class FrameTooLargeException(WebSocketException):
    """A frame is longer than its kind allows (1002), or than we accept (1009)."""

    def __init__(self, message: str = "", code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class UnsupportedFrameTypeException(WebSocketException):
    """Kept for programs that catch it; a reserved opcode is a :exc:`ProtocolException`."""


class TextFrameEncodingException(WebSocketException):
    """A text message is not UTF-8."""

    code = 1007


class InvalidBytesError(WebSocketException):
    """The reason of a Close frame is not UTF-8."""

    code = 1007


class StreamClosed(Exception):
    """Bytes were given to a stream that has been cleaned up."""


class HandshakeError(WebSocketException):
    """The opening handshake failed.

    Attributes:
        msg: What was wrong; also ``str(error)``.
        status: The HTTP status that was received, or that answers the request; or None.
        headers: The response's headers as (name, value) pairs, in their order.
        body: The beginning of the response's body.
    """

    def __init__(
        self,
        msg: str,
        status: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(msg)
        self.msg = msg
        self.status = status
        self.headers = list(headers)
        self.body = body

    def __str__(self) -> str:
        return self.msg


class Terminated(RuntimeError):
    """There is no connection: it has ended; or it has yet to begin, and ``message`` says so."""

    def __init__(self, message: str = "Cannot send on a terminated websocket") -> None:
        super().__init__(message)


class QueueFull(RuntimeError):
    """There is no room for one more message, and its sender cannot wait: it has not been sent.

    Raised where ``limits.when_full`` is "wait".
    """


class HandshakeTimeout(HandshakeError, TimeoutError):
    """The opening handshake took longer than ``open_timeout``."""

"""Errors: what programs catch, what they read from them, and the close code each stands for."""

from __future__ import annotations

import pickle

import pytest

from ws4py import exc
from ws4py.exc import (
    FrameTooLargeException,
    HandshakeError,
    HandshakeTimeout,
    InvalidBytesError,
    ProtocolException,
    StreamClosed,
    Terminated,
    TextFrameEncodingException,
    UnsupportedFrameTypeException,
    WebSocketException,
)

OF_THE_PROTOCOL = [
    FrameTooLargeException,
    HandshakeError,
    HandshakeTimeout,
    InvalidBytesError,
    ProtocolException,
    TextFrameEncodingException,
    UnsupportedFrameTypeException,
]


@pytest.mark.parametrize("error", OF_THE_PROTOCOL)
def test_an_error_is_a_websocket_exception(error: type[Exception]) -> None:
    assert issubclass(error, WebSocketException)


def test_a_websocket_exception_is_an_exception() -> None:
    assert WebSocketException.__bases__ == (Exception,)


def test_stream_closed_is_no_websocket_exception() -> None:
    assert StreamClosed.__bases__ == (Exception,)


def test_all_names_every_error_of_the_module() -> None:
    found = {
        name
        for name, value in vars(exc).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(exc.__all__) == found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProtocolException("x"), 1002),
        (ProtocolException("x", 1008), 1008),
        (FrameTooLargeException("x"), 1002),
        (FrameTooLargeException("x", code=1009), 1009),
        (UnsupportedFrameTypeException("x"), 1002),
        (TextFrameEncodingException("x"), 1007),
        (InvalidBytesError("x"), 1007),
    ],
    ids=repr,
)
def test_an_error_of_the_protocol_carries_its_close_code(
    error: WebSocketException, code: int
) -> None:
    assert error.code == code


@pytest.mark.parametrize("error", [ProtocolException, FrameTooLargeException, WebSocketException])
def test_the_text_of_an_error_is_what_it_was_given(error: type[Exception]) -> None:
    assert str(error("too bad")) == "too bad"


@pytest.mark.parametrize("error", [ProtocolException, FrameTooLargeException, StreamClosed])
def test_an_error_needs_no_text(error: type[Exception]) -> None:
    assert str(error()) == ""


def test_a_handshake_error_has_its_text_in_msg_and_str() -> None:
    error = HandshakeError("Header HTTP_UPGRADE is not defined")
    assert error.msg == str(error) == "Header HTTP_UPGRADE is not defined"


def test_a_handshake_error_has_neither_status_nor_headers_nor_body_unless_given() -> None:
    error = HandshakeError("no")
    assert (error.status, error.headers, error.body) == (None, [], b"")


def test_a_handshake_error_carries_the_status_the_headers_and_the_body() -> None:
    error = HandshakeError("no", 401, (("WWW-Authenticate", "Basic"),), b"who are you?")
    assert error.status == 401
    assert error.headers == [("WWW-Authenticate", "Basic")]
    assert error.body == b"who are you?"


def test_two_handshake_errors_do_not_share_their_headers() -> None:
    one, other = HandshakeError("one"), HandshakeError("other")
    one.headers.append(("X", "y"))
    assert other.headers == []


def test_the_text_of_a_handshake_error_follows_msg() -> None:
    error = HandshakeError("no")
    error.msg = "no, never"
    assert str(error) == "no, never"


def test_a_handshake_timeout_is_a_timeout_and_a_handshake_error() -> None:
    error = HandshakeTimeout("too slow")
    assert isinstance(error, TimeoutError)
    assert isinstance(error, HandshakeError)
    assert error.msg == str(error) == "too slow"
    assert error.status is None


@pytest.mark.parametrize(
    "error",
    [
        ProtocolException("x", 1008),
        FrameTooLargeException("x", 1009),
        HandshakeError("no", 401, [("A", "b")], b"body"),
        HandshakeTimeout("late"),
    ],
    ids=repr,
)
def test_an_error_survives_pickling(error: WebSocketException) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_is_sent_too_late_is_a_runtime_error_that_says_so() -> None:
    error = Terminated()
    assert isinstance(error, RuntimeError)
    assert str(error) == "Cannot send on a terminated websocket"

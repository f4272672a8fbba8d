from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

def mask(data: bytes | bytearray | memoryview, key: bytes | bytearray, /) -> bytes: ...
def encode_frame(first: int, payload: bytes | bytearray, key: bytes = b"", /) -> bytes: ...
def take_messages(
    buf: bytes | bytearray,
    pos: int,
    is_masked: bool,
    most: float,
    text: Callable[[bytes], Any],
    binary: Callable[[bytes], Any],
    /,
) -> tuple[list[Any], int]: ...
def hasten(method: Method, /) -> Method: ...

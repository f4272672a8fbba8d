"""Every bound on what a peer may cost, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["DROP_CONNECTION", "DROP_MESSAGE", "WAIT", "Limits"]

#: What ``Limits.when_full`` can be.
WAIT, DROP_CONNECTION, DROP_MESSAGE = POLICIES = "wait", "drop_connection", "drop_message"

#: Seconds that can be waited for on every platform: poll() takes its milliseconds as an int.
_LONGEST = (2**31 - 1) // 1000


def is_amount(value: object) -> bool:
    """Say whether ``value`` is a number, 0 or more, and not infinite."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value < float("inf")  # type: ignore[operator]


def check_seconds(value: object, what: str) -> None:
    """See to it that ``value`` is a time that can be waited for.

    Raises:
        ValueError: It is not.
    """
    if not is_amount(value) or value > _LONGEST:  # type: ignore[operator]
        raise ValueError(f"{what} is a number of seconds, 0 to {_LONGEST}, and not {value!r}")


@dataclass(frozen=True)
class Limits:
    """Bounds of a connection; None means no limit. What is exactly at a limit passes.

    Give a ``WebSocket`` subclass its own with ``limits = Limits(max_message_size=1024)``.

    Raises:
        ValueError: A limit is negative, or not a number; or one in seconds is more than 24 days,
            which cannot be waited for; or ``when_full`` is none of its values.
    """

    #: Seconds for the whole opening handshake, TLS included.
    open_timeout: float | None = 10.0
    #: Bytes of one line in the head of a request or response.
    max_line: int | None = 8 * 1024
    #: Bytes of a whole head.
    max_head: int | None = 64 * 1024
    #: Header fields in a head.
    max_headers: int | None = 128
    #: Bytes kept of the body of a refused response, or accepted with a plain request.
    max_body: int = 64 * 1024

    #: Bytes of one message, all fragments together (close code 1009).
    max_message_size: int | None = 16 * 1024 * 1024
    #: Frames of one message, empty ones counted (close code 1008).
    max_fragments: int | None = 131_072

    #: Seconds the peer has to end the connection once our Close has been sent.
    close_timeout: float | None = 10.0
    #: Seconds without a sign of life after a heartbeat's Ping.
    heartbeat_timeout: float | None = 20.0
    #: Seconds without progress while something is queued for the peer.
    write_timeout: float | None = 60.0

    #: Queued bytes above which senders wait and the peer is not read.
    high_water: int = 64 * 1024
    #: Queued bytes at which that ends.
    low_water: int = 16 * 1024
    #: Queued bytes above which there is no room for one more message of a sender that cannot wait:
    #: a loop's thread, such as a manager's, or ``broadcast``.
    max_queue: int | None = 1024 * 1024
    #: What happens then. ``"drop_connection"``: the peer loses the connection, and knows it.
    #: ``"drop_message"``: it loses, without knowing it, what ``broadcast`` has no room for, and
    #: ``dropped_messages`` counts that; to other messages the first applies. ``"wait"``:
    #: ``broadcast`` waits for it too, where its thread may; a loop's thread may not, and is refused
    #: with :exc:`ws4py.exc.QueueFull`.
    when_full: str = DROP_CONNECTION

    def __post_init__(self) -> None:
        if self.when_full not in POLICIES:
            raise ValueError(
                f"when_full is one of {', '.join(POLICIES)}, and not {self.when_full!r}"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "str" or (
                value is None and "None" in field.type
            ):  # an annotation, as it is written
                continue
            if field.name.endswith("_timeout"):
                check_seconds(value, field.name)
            elif not is_amount(value):
                raise ValueError(f"{field.name} is a number, 0 or more, and not {value!r}")


def check_limits(value: object, what: str) -> None:
    """See to it that ``value`` is a :class:`Limits`.

    Raises:
        TypeError: It is not; the text begins with ``what``.
    """
    if not isinstance(value, Limits):
        raise TypeError(f"{what} is {value!r}, and not a Limits")

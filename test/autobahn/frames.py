"""What an endpoint sent in a case, as counting.py has counted it, and whether it compressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .cases import COMPRESSION, category

# Octets. Smaller messages ws4py sends as they are, by default; of larger ones something has to be
# compressed.
THRESHOLD = 256


@dataclass(frozen=True)
class Sent:
    """The data frames that an endpoint sent, and the messages in them."""

    frames: int = 0
    compressed: int = 0  # frames with RSV1, of which a compressed message has one
    messages: int = 0
    payload: int = 0  # octets in the frames, as they were sent
    inflated: int = 0  # octets in the messages

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> Sent:
        """Return what counting.py or as_json() has written."""
        return cls(**{name: counts[name] for name in cls.__dataclass_fields__})

    def as_json(self) -> dict[str, Any]:
        """Return it, with the ratio, as plain JSON data."""
        return {**asdict(self), "ratio": self.ratio}

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.frames + other.frames,
            self.compressed + other.compressed,
            self.messages + other.messages,
            self.payload + other.payload,
            self.inflated + other.inflated,
        )

    @property
    def ratio(self) -> float | None:
        """Octets sent for each octet of the messages; None if these had none."""
        return self.payload / self.inflated if self.inflated else None

    def __str__(self) -> str:
        ratio = "none" if self.ratio is None else f"{self.ratio:.3f}"
        return (
            f"{self.compressed} of {self.frames} frames with RSV1, "
            f"{self.payload} octets for {self.inflated}: ratio {ratio}"
        )

    @property
    def is_large(self) -> bool:
        """Whether the messages, which in a case of 12 or 13 are all alike, reach the threshold."""
        return self.messages > 0 and self.inflated >= THRESHOLD * self.messages


def total(sent: Mapping[str, Sent], cases: Iterable[str]) -> Sent:
    """Return what was sent in ``cases`` together."""
    return sum((sent.get(case, Sent()) for case in cases), Sent())


def is_about_compression(case: str) -> bool:
    """Return whether the messages of ``case`` may be compressed: it is of 12 or 13."""
    return category(case) in COMPRESSION


def lacks_compression(case: str, sent: Sent) -> bool:
    """Return whether frames in ``case`` had to be compressed, and none was.

    wstest itself fails a case of 12 or 13 in which compression was not agreed on.
    """
    return is_about_compression(case) and sent.is_large and not sent.compressed

"""Masking of payloads (:rfc:`6455#section-5.3`): the one door to speed.

``mask`` is wsaccel's C implementation where that is installed, pure Python elsewhere. In pure
Python one XOR of two big integers is fastest up to a few KiB; it is not linear in practice, so
longer payloads are translated in four strides, one per byte of the key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Union

__all__ = ["mask"]

Data = Union[bytes, bytearray]

_STRIDES_FROM = 4096


def _mask_pure(data: Data, key: bytes) -> bytes:
    size = len(data)
    if size < _STRIDES_FROM:
        keys = (key * (size // 4 + 1))[:size]
        both = int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")
        return both.to_bytes(size, "little")
    masked = bytearray(size)
    for i in range(4):
        masked[i::4] = data[i::4].translate(_xor_table(key[i]))
    return bytes(masked)


@lru_cache(maxsize=256)
def _xor_table(byte: int) -> bytes:
    return bytes(byte ^ other for other in range(256))


def _find() -> Callable[[Data, bytes], bytes]:
    try:
        from wsaccel.xormask import XorMaskerSimple
    except ImportError:
        return _mask_pure

    def mask_wsaccel(data: Data, key: bytes) -> bytes:
        masked: bytes = XorMaskerSimple(key).process(bytes(data))
        return masked

    return mask_wsaccel


#: ``mask(data, key)`` returns ``data`` XORed with the four bytes of ``key``; it is its own inverse.
mask = _find()

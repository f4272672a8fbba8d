"""Masking of payloads (:rfc:`6455#section-5.3`): the one door to speed.

``speedups`` is the compiled module, or None where it could not be built, or where ``WS4PY_PURE=1``
is set in the environment. What else has a compiled counterpart takes it from there, so that a
process runs either compiled or pure.

``mask`` is the compiled one, else wsaccel's where that is installed, else pure Python. In pure
Python one XOR of two big integers is fastest for short payloads; it is not linear in practice, so
longer ones are translated in four strides, one per byte of the key.
"""

from __future__ import annotations

import os
from functools import lru_cache
from sys import implementation
from types import ModuleType
from typing import Any, Callable, TypeVar, Union

__all__ = ["hasten", "mask", "speedups"]

Data = Union[bytes, bytearray, memoryview]
Key = Union[bytes, bytearray]
Method = TypeVar("Method", bound=Callable[..., Any])

_STRIDES_FROM = 1024
_IS_PYPY = implementation.name == "pypy"


def _find_speedups() -> ModuleType | None:
    if os.environ.get("WS4PY_PURE", "0") not in ("", "0"):
        return None
    try:
        from ws4py import _speedups
    except ImportError:
        return None
    return _speedups


#: The compiled module, or None.
speedups = _find_speedups()


def hasten(method: Method) -> Method:
    """Return a method that does the plain case by itself, if it is compiled, and else calls this.

    What the plain case is, ``speedups/turns.h`` says.
    """
    return method if speedups is None else speedups.hasten(method)


def _mask_pure(data: Data, key: Key, /) -> bytes:
    if type(data) is not bytes:
        data = _to_bytes(data)
    if len(key) != 4:
        raise ValueError(f"a masking key is 4 bytes long and not {len(key)}")
    size = len(data)
    if size < _STRIDES_FROM:
        keys = (key * (size // 4 + 1))[:size]
        both = int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")
        return both.to_bytes(size, "little")
    masked = bytearray(data)
    # CPython translates a bytearray faster than bytes (by a third from 3.11 on), PyPy far slower.
    source = data if _IS_PYPY else masked
    for i in range(4):
        masked[i::4] = source[i::4].translate(_xor_table(key[i]))
    return bytes(masked)


def _to_bytes(data: Data) -> bytes:
    view = memoryview(data)  # of anything else, ``bytes`` would make something as well
    if not view.c_contiguous:
        raise BufferError("what is masked has to be contiguous in memory")
    return bytes(view)


@lru_cache(maxsize=256)
def _xor_table(byte: int) -> bytes:
    return bytes(byte ^ other for other in range(256))


def _find() -> Callable[[Data, Key], bytes]:
    if speedups is not None:
        compiled: Callable[[Data, Key], bytes] = speedups.mask
        return compiled
    try:
        from wsaccel.xormask import XorMaskerSimple
    except ImportError:
        return _mask_pure

    def mask_wsaccel(data: Data, key: Key, /) -> bytes:
        masked: bytes = XorMaskerSimple(key).process(_to_bytes(data))
        return masked

    return mask_wsaccel


#: ``mask(data, key)`` returns ``data`` XORed with the four bytes of ``key``; it is its own inverse.
#: It raises ValueError if the key has not four bytes, TypeError and BufferError if ``data`` is
#: nothing that has contiguous bytes. Compiled, it lets other threads run from 64 KiB on; what it
#: reads cannot be resized meanwhile.
mask = _find()

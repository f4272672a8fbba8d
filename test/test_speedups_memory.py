"""What a compiled function can do wrong and a pure one cannot: memory, locks and threads."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from test.alone import Alone, blocks_left, counts_blocks
from test.helpers import KEY, TIMEOUT
from test.test_framing_compiled import BOTH, CHUNK, MOST, PURE, _speedups, binary, text
from test.test_masking import sample
from ws4py import masking
from ws4py.messaging import BinaryMessage, TextMessage

PROJECT = Path(__file__).resolve().parent.parent
MIB = 1 << 20

compiled_only = pytest.mark.skipif(_speedups is None, reason="the compiled module is not built")


@pytest.fixture(params=BOTH)
def ways(request: pytest.FixtureRequest) -> Any:
    """The three functions, in one of the two ways."""
    return request.param


# What is left behind


def refuse(payload: bytes) -> Any:
    raise LookupError(payload)


def take(ways: Any, buf: Any = CHUNK, one: Any = TextMessage) -> Any:
    return ways.take_messages(buf, 0, True, MOST, one, BinaryMessage)


class Unlike(TextMessage):
    pass


def taking(buf: Any, one: Any = TextMessage, other: Any = BinaryMessage, most: Any = MOST) -> Any:
    return "take_messages", (buf, 0, True, most, one, other)


#: Ways through the functions, and what they raise.
CALLS: dict[str, tuple[tuple[str, tuple[Any, ...]], type[Exception] | None]] = {
    "mask": (("mask", (sample(100), KEY)), None),
    "mask much": (("mask", (bytearray(70_000), KEY)), None),
    "mask with a bad key": (("mask", (b"abc", b"abc")), ValueError),
    "mask nothing": (("mask", (None, KEY)), TypeError),
    "build": (("encode_frame", (0x81, b"abc")), None),
    "build and mask": (("encode_frame", (0x81, bytearray(70_000), KEY)), None),
    "build with a bad key": (("encode_frame", (0x81, b"abc", b"abc")), ValueError),
    "build with a bad byte": (("encode_frame", (1 << 70, b"abc")), ValueError),
    "build nothing": (("encode_frame", (0x81, None)), TypeError),
    "take": (taking(CHUNK), None),
    "take out of a bytearray": (taking(bytearray(CHUNK)), None),
    "take many": (taking(text(b"a") * 100), None),
    "take none": (taking(b"\x89\x00"), None),
    "take what is not UTF-8": (taking(CHUNK + text(b"\xff")), None),
    "take by a call": (taking(CHUNK, one=Unlike), None),
    "take by a call that fails": (taking(CHUNK, other=refuse), LookupError),
    "take what cannot be completed": (taking(CHUNK, other=bytes), AttributeError),
    "take without a limit": (taking(CHUNK, most=None), TypeError),
}


def blocks_left_by_calls(compiled: bool, name: str) -> int:
    (function, arguments), raised = CALLS[name]
    call = getattr(_speedups if compiled else PURE, function)

    def step() -> None:
        with suppress(*([raised] if raised else [])):
            call(*arguments)

    return blocks_left(step, 200)


@counts_blocks
@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_nothing_behind(alone: Alone, ways: Any, name: str) -> None:
    assert alone(blocks_left_by_calls, ways is _speedups, name) < 100


def references_kept(compiled: bool) -> list[int]:
    ways: Any = _speedups if compiled else PURE
    data, key = bytearray(sample(70_000)), bytes(bytearray(KEY))
    given = (data, key, CHUNK, TextMessage, BinaryMessage, Unlike)

    def count() -> list[int]:
        gc.collect()
        return [sys.getrefcount(each) for each in given]

    before = count()
    for _ in range(10):
        ways.mask(data, key)
        ways.encode_frame(0x81, data, key)
        ways.take_messages(CHUNK, 0, True, MOST, TextMessage, BinaryMessage)
        ways.take_messages(CHUNK, 0, True, MOST, Unlike, BinaryMessage)
    return [after - were for after, were in zip(count(), before)]


def test_a_call_keeps_no_reference_to_what_it_was_given(alone: Alone, ways: Any) -> None:
    assert alone(references_kept, ways is _speedups) == [0] * 6


def test_the_payload_belongs_to_its_message_alone(ways: Any) -> None:
    (message, other), _ = take(ways, binary(b"x" * 50) + binary(b"x" * 50))
    assert sys.getrefcount(message.data) == sys.getrefcount(other.data)
    assert message.data is not other.data
    assert sys.getrefcount(message) == sys.getrefcount(other)
    assert gc.is_tracked(message)


# Without what needs no memory that is not kept for reuse, and without frames of Python.
IN_C_ALONE = [name for name in CALLS if name not in ("take none", "take by a call that fails")]


def outcomes_without_memory(name: str) -> list[tuple[type, Any]]:
    """Call as often as there are requests for memory, of which each fails once.

    What measures coverage would want some too, and does not look meanwhile.
    """
    testcapi: Any = importlib.import_module("_testcapi")
    (function, arguments), _ = CALLS[name]
    call: Any = getattr(_speedups, function)
    outcomes = []
    trace = sys.gettrace()
    sys.settrace(None)
    for allowed in range(500):
        result: Any = None
        testcapi.set_nomemory(allowed, allowed + 1)  # of all requests, that one fails
        try:
            result = call(*arguments)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            result = error
        testcapi.remove_mem_hooks()
        value = result[1] if type(result) is tuple else result
        outcomes.append((type(value), None if isinstance(value, BaseException) else value))
    sys.settrace(trace)
    return outcomes


@compiled_only
@pytest.mark.parametrize("name", IN_C_ALONE)
def test_a_call_for_which_there_is_no_memory_fails_as_it_should(alone: Alone, name: str) -> None:
    pytest.importorskip("_testcapi", reason="CPython's own tests are not installed")
    _, raised = CALLS[name]
    outcomes = alone(outcomes_without_memory, name)
    others = [outcome for outcome in outcomes if outcome[0] is not MemoryError]
    assert 0 < len(others) < len(outcomes)
    if raised:
        assert others == [(raised, None)] * len(others)
    else:
        assert all(each == others[-1] for each in others)


# Buffers are locked while they are read


@compiled_only
def test_a_buffer_cannot_be_resized_while_messages_are_taken_out_of_it() -> None:
    buf = bytearray(CHUNK)

    def shrink(payload: bytes) -> Any:
        buf.clear()

    with pytest.raises(BufferError):
        take(_speedups, buf, one=shrink)
    assert take(_speedups, buf)[1] == len(CHUNK)
    buf.clear()  # it is not locked any longer


@compiled_only
@pytest.mark.parametrize("name", ["mask", "encode_frame", "encode_frame, masked"])
def test_a_buffer_cannot_be_resized_by_another_thread_meanwhile(name: str) -> None:
    data = bytearray(16 * MIB)
    call: Any = {
        "mask": lambda: masking_of(_speedups.mask(data, KEY)),
        "encode_frame": lambda: masking_of(_speedups.encode_frame(0x82, data)),
        "encode_frame, masked": lambda: masking_of(_speedups.encode_frame(0x82, data, KEY)),
    }[name]
    refused = threading.Event()
    thread = threading.Thread(target=lambda: until(refused, call))
    thread.start()
    try:
        end = time.monotonic() + TIMEOUT
        while not refused.is_set() and time.monotonic() < end:
            try:
                data.append(0)
                data.pop()
            except BufferError:
                refused.set()
    finally:
        was_refused = refused.is_set()
        refused.set()
        thread.join(TIMEOUT)
    assert was_refused, "it held the GIL, or did not lock the buffer"
    data.append(0)  # it is not locked any longer


def masking_of(result: bytes) -> None:
    assert len(result) >= 16 * MIB


def until(done: threading.Event, call: Callable[[], Any]) -> None:
    while not done.is_set():
        call()


def test_threads_mask_large_buffers_at_the_same_time(ways: Any) -> None:
    data = sample(MIB)
    keys = [bytes((i, 2 * i, 255 - i, 7)) for i in range(1, 9)]
    masked: dict[bytes, list[bytes]] = {key: [] for key in keys}
    begin = threading.Barrier(len(keys))

    def run(key: bytes) -> None:
        begin.wait(TIMEOUT)
        masked[key] = [ways.mask(data, key) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    for key in keys:
        assert masked[key] == [masking._mask_pure(data, key)] * 5


# The module


@compiled_only
def test_each_import_of_the_module_has_a_state_of_its_own() -> None:
    spec = importlib.util.find_spec("ws4py._speedups")
    assert spec is not None and spec.loader is not None
    for _ in range(3):
        other = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(other)
        assert other is not _speedups and other.mask is not _speedups.mask
        assert len(take(other)[0]) == 5
        del other
        gc.collect()
    assert len(take(_speedups)[0]) == 5


IN_INTERPRETERS = r"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
from ws4py import framing, masking
PROGRAM = '''
from ws4py import _speedups
from ws4py.messaging import BinaryMessage, TextMessage
taken = _speedups.take_messages(b"\\x81\\x01a" * 9, 0, False, 9, TextMessage, BinaryMessage)
assert [message.data for message in taken[0]] == [b"a"] * 9
assert _speedups.encode_frame(0x81, _speedups.mask(bytes(4), b"abcd")) == b"\\x81\\x04abcd"
'''
for _ in range(3):
    interpreter = interpreters.create()
    failed = interpreters.run_string(interpreter, PROGRAM)
    assert failed is None, failed
    interpreters.destroy(interpreter)
print("fine")
"""


@compiled_only
def test_each_interpreter_can_use_the_module() -> None:
    command = [sys.executable, "-c", IN_INTERPRETERS]
    ran = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (ran.stdout, ran.returncode) == ("fine\n", 0), ran.stderr


REPORT = "from ws4py import masking; print(masking.speedups is not None)"


@pytest.mark.parametrize("value", ["", "0", "1", "yes"])
def test_an_environment_variable_asks_for_pure_python(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WS4PY_PURE", value)
    output = subprocess.check_output([sys.executable, "-c", REPORT], cwd=PROJECT, text=True)
    assert output == f"{_speedups is not None and value in ('', '0')}\n"

"""With wsaccel: the same bytes, and everything still works after ``wsaccel.patch_ws4py()``.

The patch changes classes for the whole process, so it is tried in processes of its own.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from test.helpers import KEY, TIMEOUT
from test.test_masking import SIZES, by_the_formula, sample
from ws4py import masking

PROJECT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(find_spec("wsaccel") is None, reason="wsaccel is not installed")

# What may not change: every test of the layers that the patch reaches into.
SUITE = [
    "test/test_framing.py",
    "test/test_masking.py",
    "test/test_messaging.py",
    "test/test_streaming.py",
    "test/test_streaming_errors.py",
    "test/test_streaming_messages.py",
    "test/test_streaming_utf8.py",
]

CONFORMANCE = "test/test_conformance.py"

# These two are about the methods that the patch replaces: its own return bytes, and accept that
# there is no key.
REPLACED = [
    "test/test_framing.py::test_mask_returns_a_bytearray_and_unmask_undoes_it",
    "test/test_framing.py::test_a_frame_without_a_key_cannot_mask",
]

RUN_PATCHED = """
import sys, pytest, wsaccel, wsaccel.utf8validator
wsaccel.patch_ws4py()
from ws4py import framing, streaming
assert streaming.Utf8Validator is wsaccel.utf8validator.Utf8Validator
assert framing.Frame.mask.__globals__["__name__"] == "wsaccel"
sys.exit(pytest.main(sys.argv[1:]))
"""

ECHO_PATCHED = """
import wsaccel
wsaccel.patch_ws4py()
from test.helpers import RecordingWebSocket, Recorder, TIMEOUT, echo_server, url_of
from ws4py.client.threadedclient import WebSocketClient

class Client(Recorder, WebSocketClient):
    pass

MESSAGES = ["", "Hello", "\\u20ac" * 50_000, b"", bytes(range(256)) * 300]
with echo_server() as server:
    client = Client(url_of(server))
    client.connect()
    for message in MESSAGES:
        client.send(message, binary=isinstance(message, bytes))
    client.send((part for part in ("\\u20ac", "a", "")))
    client.ping("p")
    assert client.next_event() == ("opened",)
    for message in [*MESSAGES, "\\u20aca"]:
        kind = "binary" if isinstance(message, bytes) else "text"
        data = message if kind == "binary" else message.encode()
        assert client.next_event() == (kind, data)
    assert client.next_event() == ("pong", b"p")
    client.close(1001, "bye")
    assert client.all_events()[-1][:2] == ("closed", 1001), client.all_events()
    client._th.join(TIMEOUT)
print("fine")
"""


def run(*arguments: str, seconds: float = 10 * TIMEOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


# ``make wsaccel`` sets WS4PY_PURE: our own compiled module masks faster, and comes first.
masks_by_wsaccel = pytest.mark.skipif(masking.speedups is not None, reason="ours masks")


@masks_by_wsaccel
def test_masking_goes_through_wsaccel() -> None:
    assert masking.mask is not masking._mask_pure
    assert masking.mask.__name__ == "mask_wsaccel"


@masks_by_wsaccel
def test_wsaccel_and_pure_python_mask_alike_at_every_size() -> None:
    for size in SIZES:
        data = sample(size)
        masked = masking.mask(data, KEY)
        assert masked == masking._mask_pure(data, KEY) == by_the_formula(data, KEY), size
        assert type(masked) is bytes


def test_after_the_patch_frames_messages_and_streams_work_as_before() -> None:
    deselected = [f"--deselect={test}" for test in REPLACED]
    ran = run("-c", RUN_PATCHED, "-q", "-p", "no:cacheprovider", *deselected, *SUITE)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


@pytest.mark.timeout(900)
def test_after_the_patch_every_engine_conforms_as_before() -> None:
    over_ws = ("-k", "not wss", CONFORMANCE)  # TLS is nothing to what masks.
    ran = run("-c", RUN_PATCHED, "-q", "-p", "no:cacheprovider", *over_ws, seconds=800)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


def test_after_the_patch_a_client_and_a_server_talk_as_before() -> None:
    ran = run("-c", ECHO_PATCHED)
    assert ran.stdout == "fine\n", ran.stdout[-3000:] + ran.stderr[-3000:]
    assert ran.returncode == 0

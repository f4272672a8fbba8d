"""The fuzz is worth its time: it finds faults that are planted into a copy of ws4py, in each role.

Each fault replaces one piece of the source, which has to stand there exactly once: when the source
changes, so must the fault, or the test fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import ws4py

PROJECT = Path(__file__).resolve().parents[2]
STREAMS = 4000
SEED = 6455


BOTH = ("server", "client")
SERVER = ("server",)
CLIENT = ("client",)


class Fault(NamedTuple):
    """A fault: in ``module``, ``right`` becomes ``wrong``.

    It shows in each of ``roles``; or in the corpus of each of these targets.
    """

    name: str
    module: str
    right: str
    wrong: str
    roles: tuple[str, ...] = BOTH


FAULTS = [
    Fault(
        "a length of 126 is taken as it stands",
        "framing",
        "if length > MAX_CONTROL_PAYLOAD:",
        "if length > MAX_CONTROL_PAYLOAD + 1:",
    ),
    Fault(
        "a 64-bit length need not be minimal",
        "framing",
        "(126 if len(field) == 2 else 0x10000)",
        "(126 if len(field) == 2 else 0)",
    ),
    Fault(
        "RSV2 is accepted",
        "framing",
        "if first & 0x70 & ~allowed:",
        "if first & 0x50 & ~allowed:",
    ),
    Fault(
        "the key is rotated the wrong way inside a partial frame",
        "streaming",
        "key = key[turn:] + key[:turn]",
        "key = key[-turn:] + key[:-turn]",
        SERVER,
    ),
    Fault(
        "an empty frame need not be masked",
        "streaming",
        "if (not key) is self.expect_masking:",
        "if length and (not key) is self.expect_masking:",
    ),
    Fault(
        "half a character at the end of a message is left for the next one",
        "streaming",
        "if last and not whole:",
        "if last and not valid:",
    ),
    Fault(
        "a message of exactly the limit is too big",
        "streaming",
        "most = limits.max_message_size\n        if most is not None and self._size > most:",
        "most = limits.max_message_size\n        if most is not None and self._size >= most:",
    ),
    Fault(
        "only the last fragment counts for the limit",
        "streaming",
        "self._size += length",
        "self._size = length",
    ),
    Fault(
        "empty fragments do not count for the limit",
        "streaming",
        "self._fragments += 1",
        "self._fragments += 1 if length else 0",
    ),
    Fault(
        "a ping between fragments resets the message",
        "streaming",
        "            self.pings.append(PingControlMessage(payload))\n",
        "            self.pings.append(PingControlMessage(payload))\n"
        "            self._partial = None\n",
    ),
    Fault(
        "1005 is accepted on the wire",
        "streaming",
        "VALID_CLOSING_CODES = [1000, 1001, 1002, 1003, 1007,",
        "VALID_CLOSING_CODES = [1000, 1001, 1002, 1003, 1005, 1007,",
    ),
    Fault(
        "the reason of a Close need not be UTF-8",
        "streaming",
        'payload[2:].decode("utf-8")',
        'payload[2:].decode("utf-8", "replace")',
    ),
    Fault(
        "a surrogate is refused only with its third byte",
        "utf8validator",
        "            if self.state == _REJECT:\n"
        "                self.i -= size\n"
        "                return self._reject(size - missing)\n",
        "",
    ),
    Fault(
        "what follows a message in the same chunk is lost",
        "streaming",
        "buf = buf[pos:] + late",
        "buf = bytes(late)",
    ),
    Fault(
        "a frame that is not masked is accepted",
        "streaming",
        "if (not key) is self.expect_masking:",
        "if key and not self.expect_masking:",
        SERVER,
    ),
    Fault(
        "a masked frame is accepted",
        "streaming",
        "if (not key) is self.expect_masking:",
        "if not key and self.expect_masking:",
        CLIENT,
    ),
    Fault(
        "the masking of a Close does not matter",
        "streaming",
        "if (not key) is self.expect_masking:",
        "if (not key) is self.expect_masking and opcode != 8:",
    ),
    Fault(
        "an empty frame is sent unmasked",
        "sending",
        'key = urandom(4) if self._masks else b""',
        'key = urandom(4) if self._masks and payload else b""',
        CLIENT,
    ),
    Fault(
        "a large message is sent with a key but unmasked",
        "sending",
        "return header, mask(payload, key) if key else payload",
        "return header, payload",
        CLIENT,
    ),
    Fault(
        "a short text is not looked at for UTF-8",
        "framing",
        "if is_text and not payload.isascii() and not _is_utf8(payload):",
        "if False:",
    ),
    Fault(
        "a short message may be larger than is accepted",
        "framing",
        "end = pos + 6 + length\n            if end > size or length > most:",
        "end = pos + 6 + length\n            if end > size:",
        SERVER,
    ),
    Fault(
        "a message that is not masked may be larger than is accepted",
        "framing",
        "end = start + length\n            if end > size or length > most:",
        "end = start + length\n            if end > size:",
        CLIENT,
    ),
    Fault(
        "the length of a short message may take more bytes than it needs",
        "framing",
        "if length < 126:\n                    return",
        "if length < 0:\n                    return",
    ),
    Fault(
        "the reserved bits of a short message are not looked at",
        "framing",
        "is_text = first == 0x81\n        if not is_text and first != 0x82:",
        "is_text = first & 0x8F == 0x81\n        if not is_text and first & 0x8F != 0x82:",
    ),
    Fault(
        "every frame is sent with the same key",
        "sending",
        'key = urandom(4) if self._masks else b""',
        'key = b"same" if self._masks else b""',
        CLIENT,
    ),
    Fault(
        "the answer to a Close is sent unmasked",
        "closing",
        "if not self._write_close(message.single(self._masks), at_once):",
        "if not self._write_close(message.single(False), at_once):",
        CLIENT,
    ),
    Fault(
        "what a compressed message leaves out is not read",
        "deflate",
        "payload += _TAIL",
        'payload += b""',
    ),
    Fault(
        "what follows a last block is lost",
        "deflate",
        "self._decompressor, data = None, decompressor.unused_data",
        'self._decompressor, data = None, b""',
        SERVER,
    ),
    Fault(
        "a message may refer to another one where that was ruled out",
        "deflate",
        "if last and not self._keeps_context:",
        "if last and not payload:",
        CLIENT,
    ),
    Fault(
        "what a message refers to is forgotten",
        "deflate",
        "if last and not self._keeps_context:",
        "if last:",
        SERVER,
    ),
    Fault(
        "the window is always small",
        "deflate",
        "self._bits = max(bits, _LEAST)",
        "self._bits = _LEAST",
        CLIENT,
    ),
    Fault(
        "RSV1 may be set in a continuation",
        "framing",
        "if first & allowed and opcode not in (OPCODE_TEXT, OPCODE_BINARY):",
        "if first & allowed and opcode & 0x8:",
        SERVER,
    ),
    Fault(
        "RSV1 may be set in a control frame",
        "framing",
        "if first & allowed and opcode not in (OPCODE_TEXT, OPCODE_BINARY):",
        "if first & allowed and not opcode:",
        CLIENT,
    ),
    Fault(
        "every message is inflated",
        "streaming",
        "if opcode >= RSV1:",
        "if self.inflater is not None:",
        SERVER,
    ),
    Fault(
        "a message may be inflated to any size",
        "streaming",
        "self._size += len(piece)",
        "self._size += 0",
    ),
    Fault(
        "what comes while a message is inflated is lost",
        "streaming",
        'late += (yield 0) or b""',
        "yield 0",
        CLIENT,
    ),
    Fault(
        "a compressed message does not say that it is one",
        "sending",
        "self._build(message.opcode | RSV1, payload)",
        "self._build(message.opcode, payload)",
        SERVER,
    ),
    Fault(
        "what a message leaves out is sent",
        "deflate",
        'return data[: -len(_TAIL)] if data else b"\\x00"',
        'return data or b"\\x00"',
        CLIENT,
    ),
    Fault(
        "a message that is sent refers to another one where that was ruled out",
        "deflate",
        "if not self.keeps_context:",
        "if not payload:",
        SERVER,
    ),
]
FAULTS_IN_ROLES = [
    pytest.param(fault, role, id=f"{role}: {fault.name}")
    for fault in FAULTS
    for role in fault.roles
]


# Faults that the corpus of a target finds.
FAULTS_OF_TARGETS = [
    Fault(
        "space before a value is matched in two ways",
        "heads",
        "({TOKEN}):([^",
        "({TOKEN}):[ \\t]*([^",
        ("length",),
    ),
    Fault(
        "a list is split within quoted strings",
        "headers",
        "parts = _split_quoted(value, separator) if '\"' in value else value.split(separator)",
        "parts = value.split(separator)",
        ("lists",),
    ),
    Fault(
        "a size of a window may begin with a zero",
        "deflate",
        "_BITS.get(value)",
        "_BITS.get(value.lstrip('0'))",
        ("extensions",),
    ),
    Fault(
        "a parameter of compression may be repeated",
        "deflate",
        "if name in read or not (is_flag or name in _WINDOWS):",
        "if not (is_flag or name in _WINDOWS):",
        ("extensions",),
    ),
    Fault(
        "a quoted value need not be a token",
        "headers",
        "(value is not None and not is_token(value))",
        "value == []",
        ("extensions",),
    ),
    Fault(
        "space behind the name of a parameter is matched in two ways",
        "headers",
        "_match_parameter = re.compile(rf'({TOKEN})(?:",
        "_match_parameter = re.compile(rf'({TOKEN})[ \\t]*(?:",
        ("length",),
    ),
    Fault(
        "what follows a last block is lost in a message",
        "deflate",
        "self._decompressor, data = None, decompressor.unused_data",
        'self._decompressor, data = None, b""',
        ("inflate",),
    ),
    Fault(
        "a target that is no URL is no HandshakeError",
        "heads",
        'except ValueError as error:\n        raise HandshakeError(f"{target!r}',
        'except KeyError as error:\n        raise HandshakeError(f"{target!r}',
        ("request",),
    ),
    Fault(
        "what follows a head is lost up to its last line",
        "heads",
        'self.rest = b"\\r\\n".join([*lines[position + 1 :], rest])',
        "self.rest = rest",
        ("response",),
    ),
    Fault(
        "what follows a head that comes as a whole is lost",
        "heads",
        "self.rest = received[size:]",
        "pass",
        ("request",),
    ),
    Fault(
        "a key may be short",
        "handshake",
        "    if _is_key(key):",
        "    if _is_key(key) or 0 < len(key) < 24:",
        ("request",),
    ),
    Fault(
        "a body on a request to upgrade is taken for frames",
        "handshake",
        "    _require_no_body(environ)\n        host",
        "    host",
        ("request",),
    ),
    Fault(
        "a response needs no proof",
        "handshake",
        'found.get("sec-websocket-accept") != accept_token(key)',
        'found.get("sec-websocket-accept", accept_token(key)) != accept_token(key)',
        ("response",),
    ),
    Fault(
        "the limit of a body holds for its first chunk only",
        "_body",
        "size = min(len(self._buffer), self._most - len(self._kept))",
        "size = min(len(self._buffer), self._most)",
        ("response",),
    ),
    Fault(
        "a host may be one that has no address",
        "client/__init__",
        '        (parts.hostname or "").encode("idna")\n',
        "",
        ("url",),
    ),
    Fault(
        "a URL may have a space",
        "client/__init__",
        "[\\x00-\\x20\\x7f]",
        "[\\x00-\\x1f\\x7f]",
        ("url",),
    ),
    Fault(
        "the size of a message is not limited while it grows",
        "streaming",
        "self._size += length",
        "self._size = length",
        ("length",),
    ),
    Fault(
        "a stream keeps what has been taken",
        "streaming",
        "        message.completed = bool(last)\n",
        "        message.completed = bool(last)\n"
        '        vars(self).setdefault("kept", []).append(payload)\n',
        ("length",),
    ),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the sources of ws4py, the compiled module left out."""
    source = Path(ws4py.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.c")
    shutil.copytree(source, tmp_path / "ws4py", ignore=ignored)
    return tmp_path


def fuzz(copy: Path, role: str) -> str:
    """Run the campaign on the copy, in one role; return what it prints."""
    done = run(copy, "test.fuzz.campaign", str(SEED), str(STREAMS), role)
    assert f"ws4py from {copy / 'ws4py'}\n" in done.stdout, done.stderr
    return done.stdout


def run(copy: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module with the copy in place of ws4py."""
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join([str(copy), str(PROJECT)])
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["WS4PY_PURE"] = "1"  # No fault is planted in what is compiled.
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=copy, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def plant(fault: Fault, copy: Path) -> None:
    path = copy / "ws4py" / f"{fault.module}.py"
    source = path.read_text(encoding="utf-8")
    assert source.count(fault.right) == 1, f"{fault.right!r} is not once in {fault.module}.py"
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")


@pytest.mark.fuzz
@pytest.mark.parametrize("role", BOTH)
def test_the_copy_as_it_is_agrees_with_the_reference(copy: Path, role: str) -> None:
    assert "no disagreement" in fuzz(copy, role)


@pytest.mark.fuzz
@pytest.mark.parametrize("fault, role", FAULTS_IN_ROLES)
def test_the_fuzz_finds_out_that(fault: Fault, role: str, copy: Path) -> None:
    plant(fault, copy)
    found = fuzz(copy, role)
    assert "\nexpected " in found, found


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "fault", FAULTS_OF_TARGETS, ids=[fault.name for fault in FAULTS_OF_TARGETS]
)
def test_the_corpus_finds_out_that(fault: Fault, copy: Path) -> None:
    plant(fault, copy)
    done = run(copy, "test.fuzz.targets", *fault.roles)
    assert done.returncode == 1
    assert "\n  File" in done.stderr, done.stderr

"""Masking in pure Python and compiled: the same cases on both, and which of them is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from test.helpers import KEY, TIMEOUT
from test.test_framing_compiled import BOTH, _speedups
from test.test_masking import by_the_formula, sample

PROJECT = Path(__file__).resolve().parent.parent

#: Masks at three sizes, and prints by what.
REPORT = """
from test.helpers import KEY
from test.test_masking import by_the_formula, sample
from ws4py import masking
for size in (0, 5, 5000):
    assert masking.mask(sample(size), KEY) == by_the_formula(sample(size), KEY)
assert masking.mask(memoryview(b"Hello"), KEY) == by_the_formula(b"Hello", KEY)
assert masking.hasten(len) is len or masking.speedups
print("compiled" if masking.speedups else masking.mask.__name__)
"""

#: What ws4py uses of wsaccel, in a package of that name.
XORMASK = """
class XorMaskerSimple:
    def __init__(self, key):
        self.key = key

    def process(self, data):
        return bytes(octet ^ self.key[i % 4] for i, octet in enumerate(data))
"""


@pytest.fixture(params=BOTH)
def ways(request: pytest.FixtureRequest) -> Any:
    """The functions, in one of the two ways."""
    return request.param


@pytest.mark.parametrize("size", [*range(100), 65535, 65536, 65537, 100_003])
def test_any_buffer_is_masked_by_the_formula(ways: Any, size: int) -> None:
    data = sample(size)
    expected = by_the_formula(data, KEY)
    padded = memoryview(b"..." + data + b".")
    for given in (data, bytearray(data), memoryview(data), padded[3 : 3 + size]):
        masked = ways.mask(given, KEY)
        assert type(masked) is bytes
        assert masked == expected


def test_a_buffer_of_larger_items_is_masked_byte_by_byte(ways: Any) -> None:
    items = memoryview(sample(400)).cast("I")
    assert ways.mask(items, KEY) == by_the_formula(sample(400), KEY)


def test_a_key_may_be_a_bytearray(ways: Any) -> None:
    assert ways.mask(b"Hello", bytearray(KEY)) == by_the_formula(b"Hello", KEY)


@pytest.mark.parametrize("size", [0, 5, 5000])
@pytest.mark.parametrize("key", [b"", b"abc", b"abcde", bytes(8)])
def test_a_key_of_another_length_is_refused(ways: Any, key: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=f"a masking key is 4 bytes long and not {len(key)}"):
        ways.mask(bytes(size), key)


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_what_has_no_bytes_is_not_masked(ways: Any, data: Any) -> None:
    with pytest.raises(TypeError):
        ways.mask(data, KEY)


@pytest.mark.parametrize("size", [4, 9000])
def test_a_buffer_with_gaps_is_not_masked(ways: Any, size: int) -> None:
    with pytest.raises(BufferError):
        ways.mask(memoryview(bytes(size))[::2], KEY)


def found(program: str = REPORT, path: str = "", pure: str = "") -> str:
    """Return what a new process says that it masks by."""
    env = {**os.environ, "WS4PY_PURE": pure, "PYTHONPATH": os.pathsep.join([str(PROJECT), path])}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(
        command, cwd=PROJECT, env=env, stdout=subprocess.PIPE, timeout=TIMEOUT, check=True
    )
    return ran.stdout.decode().strip()


@pytest.mark.skipif(_speedups is None, reason="the compiled module is not built")
@pytest.mark.parametrize("pure", ["", "0"])
def test_what_is_compiled_is_used_unless_pure_python_is_wanted(pure: str) -> None:
    assert found(pure=pure) == "compiled"
    assert found(pure="1") != "compiled"


@pytest.mark.skipif(find_spec("wsaccel") is not None, reason="wsaccel masks here")
def test_python_masks_where_nothing_compiled_can_be_imported() -> None:
    program = f"import sys; sys.modules['ws4py._speedups'] = None\n{REPORT}"
    assert found(program) == "_mask_pure"


def test_wsaccel_masks_where_it_is_installed_and_our_module_is_not(tmp_path: Path) -> None:
    package = tmp_path / "wsaccel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "xormask.py").write_text(XORMASK, encoding="utf-8")
    assert found(path=str(tmp_path), pure="1") == "mask_wsaccel"

"""What counts for a whole process is measured in one in which nothing else goes on."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from test.helpers import TIMEOUT

#: Calls a function, of a module, in that process, and returns what it returned.
Alone = Callable[..., Any]

counts_blocks = pytest.mark.skipif(
    not hasattr(sys, "getallocatedblocks"), reason="counts CPython's blocks"
)


@contextmanager
def process_alone() -> Iterator[Alone]:
    """Start a process when it is first needed, and end it."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(TIMEOUT)


def blocks_left(step: Callable[[], Any], times: int) -> int:
    """Return how many blocks of memory ``times`` steps leave behind, once caches are full."""

    def count() -> int:
        for _ in range(times):
            step()
        gc.collect()
        return sys.getallocatedblocks()

    counts = [count() for _ in range(5)]
    return min(after - before for before, after in zip(counts, counts[1:]))

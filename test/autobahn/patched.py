"""Run a module after ``wsaccel.patch_ws4py()``: ``python -m test.autobahn.patched MODULE …``."""

from __future__ import annotations

import runpy
import sys

import wsaccel

if __name__ == "__main__":
    wsaccel.patch_ws4py()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

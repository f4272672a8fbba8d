"""What pyproject.toml cannot declare: the compiled module, without which ws4py works as well."""

import platform
import sys

import setuptools

# An older one does not understand pyproject.toml.
if int(setuptools.__version__.partition(".")[0]) < 77:
    sys.exit("ws4py needs setuptools 77 or newer: python -m pip install --upgrade setuptools")

# What PyPy compiles is faster than a call into C.
COMPILES = platform.python_implementation() == "CPython"
SPEEDUPS = setuptools.Extension(
    "ws4py._speedups",
    ["ws4py/_speedups.c", "ws4py/_turns.c"],
    depends=["ws4py/_frames.h", "ws4py/_speedups.h", "ws4py/_turns.h"],
    optional=True,
)

setuptools.setup(ext_modules=[SPEEDUPS] if COMPILES else [])

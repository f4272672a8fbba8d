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
    [f"speedups/{name}.c" for name in ("module", "hasten", "reads", "sends", "turns")],
    depends=["speedups/frames.h", "speedups/turns.h"],
    optional=True,
)

setuptools.setup(ext_modules=[SPEEDUPS] if COMPILES else [])

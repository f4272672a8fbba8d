"""Everything is declared in pyproject.toml, which an old setuptools does not understand."""

import sys

import setuptools

if int(setuptools.__version__.partition(".")[0]) < 77:
    sys.exit("ws4py needs setuptools 77 or newer: python -m pip install --upgrade setuptools")

setuptools.setup()

"""Benchmarks of ws4py; README.md says what is measured and how to read it."""

"""A long run: thousands of connections on one server process, which has to stay as it is.

``python -m test.soak --seconds 600`` does it, and ``make soak``; docs/soak.md is its report.
"""

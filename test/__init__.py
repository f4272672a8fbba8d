import pytest

# Their asserts explain themselves, as those of test modules do.
pytest.register_assert_rewrite("test.conformance")

"""On a free-threaded CPython, the tests of the index run without the GIL."""

import sys
import sysconfig

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_gil_where_python_needs_none():
    """Assert that no import, or setting, has turned the GIL of a free-threaded CPython on."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()

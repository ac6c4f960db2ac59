"""Fixtures: here the threads of presences work as they do for users."""

import pytest


@pytest.fixture(autouse=True)
def silent_presence():
    """Let presences be written, which the fixture of this name elsewhere prevents."""

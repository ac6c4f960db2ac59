"""Fixtures: most tests here count commands, or let some fail, and want none of other threads."""

import pytest

from support.standbys import silence


@pytest.fixture(autouse=True)
def silent_presence(monkeypatch):
    """Let no thread write presences, or look at the collection, after the start."""
    silence(monkeypatch)

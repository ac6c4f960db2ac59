"""Fixtures: most tests here count commands, or let some fail, and want none of other threads."""

import pytest

from jobstore.mongodb.presence import others
from support.standbys import silence


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch):
    """Let a scheduler count for others from its start on, so that no test has to wait."""
    monkeypatch.setattr(others, "SETTLED_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def silent_presence(monkeypatch):
    """Let no thread write presences, or look at the collection, after the start."""
    silence(monkeypatch)

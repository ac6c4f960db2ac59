"""Writes of a cycle: deferred, flushed, settled after conflicts; and the quarantine."""

"""Presence: which schedulers run, which of them fires, and the format of the collection."""

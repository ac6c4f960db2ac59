"""Looks into the collection without its jobs' code, and without any lock of the store."""

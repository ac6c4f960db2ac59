"""Fixtures of the memory store's tests: a store of each kind, a clock, and jobs that wait."""

from support.full_executors import gate
from support.refused_jobs import clock, refused, store

__all__ = ["clock", "gate", "refused", "store"]

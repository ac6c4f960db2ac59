"""Chooses between the functions about pickled states: the compiled ones and their Python twins."""

from ._states_py import advance, is_unchanged

__all__ = ["advance", "is_unchanged"]

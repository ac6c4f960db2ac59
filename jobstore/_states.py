"""Chooses between the functions about pickled states: the compiled ones and their Python twins."""

from ._states_py import Slots, advance, is_unchanged

__all__ = ["Slots", "advance", "is_unchanged"]

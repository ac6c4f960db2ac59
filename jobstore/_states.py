"""Chooses between the functions about pickled states: the compiled ones and their Python twins."""

from typing import TYPE_CHECKING

from ._index import backend

__all__ = ["Slots", "advance", "is_unchanged"]

if TYPE_CHECKING or backend == "python":
    from ._states_py import Slots, advance, is_unchanged
else:
    from ._states_c import Slots, advance, is_unchanged

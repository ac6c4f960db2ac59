"""Says whether a pickle changes the results of the calls that it makes."""

from typing import TYPE_CHECKING

from .._index import backend

if TYPE_CHECKING or backend == "python":
    from ._changes_py import changes
else:
    from .._changes_c import changes

__all__ = ["changes"]

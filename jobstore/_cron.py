"""Chooses between the two `next_fire_time` functions: the compiled one and its Python twin."""

from typing import TYPE_CHECKING

from ._index import backend

__all__ = ["adopt", "next_fire_time"]

if TYPE_CHECKING or backend == "python":
    from ._cron_py import adopt, next_fire_time
else:
    from ._cron_c import adopt, next_fire_time

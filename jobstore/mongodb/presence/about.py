"""The fields of a presence by which people know a scheduler: its versions and executors."""

import platform
from functools import cache
from importlib import metadata
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

from ..documents import Document

__all__ = ["executors", "versions"]


@cache
def versions() -> dict[str, str]:
    """Return the versions of jobstore, APScheduler, PyMongo and Python, by name."""
    packages = {name: _version(name) for name in ("jobstore", "apscheduler", "pymongo")}
    return {**packages, "python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def executors(scheduler: BaseScheduler | None) -> list[Document]:
    """Describe a scheduler's executors: alias, type and number of workers, None if unknown."""
    return [
        {"alias": _storable(alias), "type": type(executor).__name__, "workers": _workers(executor)}
        for alias, executor in (list(scheduler._executors.items()) if scheduler else [])
    ]


def _workers(executor: Any) -> int | None:
    workers = getattr(getattr(executor, "_pool", None), "_max_workers", None)
    return workers if isinstance(workers, int) and abs(workers) < 2**31 else None


def _storable(text: object) -> str:
    """Return a text as UTF-8 can have it."""
    return str(text).encode(errors="replace").decode()

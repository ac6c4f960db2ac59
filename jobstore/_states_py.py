"""The Python twin of the compiled functions about pickled states."""

from datetime import datetime

from apscheduler.job import Job

__all__ = ["advance", "is_unchanged"]


def advance(state: bytes, old: datetime, new: datetime) -> bytes | None:
    """Return a pickled state with a new run time, or None where that is not certain to be right."""
    return None


def is_unchanged(job: Job, parts: tuple[object, ...]) -> bool:
    """Whether every attribute of the job but its run time still is the same object."""
    return False

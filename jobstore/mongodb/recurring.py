"""Which jobs change nothing but their run time from one run to the next."""

from apscheduler.job import Job

__all__ = ["Parts", "parts_of"]

Parts = tuple[object, ...]


def parts_of(job: Job) -> Parts | None:
    """Return the parts of a restored job; None if more than its run time can change."""
    return None

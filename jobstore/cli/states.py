"""The states of jobs, and their colours."""

from datetime import datetime

from ..describe import JobInfo

__all__ = ["STYLES", "state_of"]

STYLES = {
    "scheduled": "green",
    "overdue": "yellow",
    "leased": "cyan",
    "paused": "dim",
    "held": "magenta",
    "quarantined": "red",
    "unreadable": "red",
}


def state_of(job: JobInfo, now: datetime) -> str:
    """Return a job's state; the first of several, in the order of the page."""
    if job.quarantine:
        return "quarantined"
    if job.unreadable:
        return "unreadable"
    if job.held:
        return "held"
    if job.next_run_time is None:
        return "paused"
    if job.lease and job.lease.until > now:
        return "leased"
    return "overdue" if job.next_run_time <= now else "scheduled"

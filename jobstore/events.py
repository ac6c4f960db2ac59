"""Events of ours, for listeners of APScheduler's schedulers."""

from apscheduler.events import JobEvent

__all__ = ["EVENT_JOB_QUARANTINED", "QuarantineEvent"]

EVENT_JOB_QUARANTINED = 2**24  # not in APScheduler's EVENT_ALL: a listener has to name it


class QuarantineEvent(JobEvent):
    """Tells that a store has put a job into quarantine.

    A thread of the store calls the listeners, soon afterwards. It holds no lock, so a listener may
    call the scheduler and the store.

    >>> from jobstore.events import EVENT_JOB_QUARANTINED
    >>> scheduler.add_listener(alert, EVENT_JOB_QUARANTINED)

    :param job_id: the job's id.
    :param jobstore: the store's alias.
    :param reason: why the job can't be restored or run.
    """

    def __init__(self, job_id: str, jobstore: str, reason: str) -> None:
        super().__init__(EVENT_JOB_QUARANTINED, job_id, jobstore)
        self.reason = reason

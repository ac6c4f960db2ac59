"""Tells a scheduler's listeners of quarantined jobs, in a thread that holds no lock."""

import threading
from collections import deque

from apscheduler.schedulers.base import BaseScheduler

from ...events import EVENT_JOB_QUARANTINED, QuarantineEvent
from ..documents import DocumentId
from ..host import Host
from ..threads import daemon

__all__ = ["Announcer"]

CAPACITY = 10_000  # events that wait for a slow listener; the oldest are dropped


class Announcer:
    """Dispatches events through the scheduler; a thread exists only while there are some."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.forked()

    def forked(self) -> None:
        """In a forked process, leave the events to the parent."""
        self._events: deque[QuarantineEvent] = deque(maxlen=CAPACITY)
        self._has_thread = threading.Lock()  # held by a thread, or for one that is to start

    def announce(self, job_id: DocumentId, reason: str) -> None:
        """Dispatch an event soon, if a listener asks for such events; never waits."""
        if not _is_listening(self._host.scheduler):
            return
        self._events.append(QuarantineEvent(job_id, self._host.alias or "", reason))
        if self._has_thread.acquire(blocking=False):
            try:
                daemon(self._run, "jobstore-events").start()
            except RuntimeError:  # the process ends, and can't start threads any more
                self._has_thread.release()

    def _run(self) -> None:
        has_thread = self._has_thread
        while True:
            while self._events:
                event, scheduler = self._events.popleft(), self._host.scheduler
                if scheduler is not None:
                    scheduler._dispatch_event(event)  # logs the errors of listeners
            has_thread.release()
            # An event may have come since the last look, which has started no thread.
            if not self._events or not has_thread.acquire(blocking=False):
                return


def _is_listening(scheduler: BaseScheduler | None) -> bool:
    listeners = list(scheduler._listeners) if scheduler is not None else ()
    return any(mask & EVENT_JOB_QUARANTINED for _, mask in listeners)

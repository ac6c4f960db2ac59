"""Due jobs that this process can't run, left to the other schedulers for a minute."""

import time
from typing import Any, NamedTuple

from ..documents import DocumentId, IdKey, Record, hashable_id

__all__ = ["UnrunnableJobs"]

LEAVE_SECONDS = 60.0


class Unrunnable(NamedTuple):
    """A document that was left: due since when, and since when, by the monotonic clock, so seen."""

    id: DocumentId
    run_time: Any
    since: float

    @property
    def is_recent(self) -> bool:
        return time.monotonic() < self.since + LEAVE_SECONDS


class UnrunnableJobs:
    """Remembers what was left to others, for a minute; then it is looked at once more.

    If it still is due at the same time, nobody can run it.
    """

    def __init__(self) -> None:
        self._left: dict[IdKey, Unrunnable] = {}

    def add(self, record: Record) -> bool:
        """Leave a document to others; tells whether it was not left before."""
        old = self._left.get(hashable_id(record.id))
        if not (old and old.is_recent and old.run_time == record.run_time):
            self._left[hashable_id(record.id)] = Unrunnable(
                record.id, record.run_time, time.monotonic()
            )
        return old is None

    def forget(self, job_id: DocumentId) -> None:
        """Look at a document anew, as it is written."""
        if self._left:  # then the id is worth a key
            self._left.pop(hashable_id(job_id), None)

    def forget_all(self) -> None:
        """Look at all documents anew."""
        self._left.clear()

    def has_waited(self, record: Record) -> bool:
        """Whether nobody has taken it for a minute."""
        left = self._left.get(hashable_id(record.id))
        return left is not None and not left.is_recent and left.run_time == record.run_time

    def current(self) -> dict[IdKey, Unrunnable]:
        """Return the jobs that are left to others now, by the keys of their ids."""
        return {hashable_id(left.id): left for left in self._recent()}

    def until(self) -> float | None:
        """Return when the first of them is to be looked at again, by the monotonic clock."""
        return min((left.since + LEAVE_SECONDS for left in self._recent()), default=None)

    def _recent(self) -> list[Unrunnable]:
        """Those that others have taken are forgotten."""
        oldest = time.monotonic() - 2 * LEAVE_SECONDS
        for left in list(self._left.values()):  # also the watcher's thread asks
            if left.since <= oldest:
                self._left.pop(hashable_id(left.id), None)
        return [left for left in list(self._left.values()) if left.is_recent]

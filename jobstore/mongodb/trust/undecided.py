"""Due jobs that name an unknown key, while the store may not ask for its keys again."""

import time
from collections.abc import Mapping
from typing import Any

from ...run_times import UnreadableError
from ..documents import DocumentId, IdKey, Record, hashable_id
from .signatures import Signatures
from .untrusted import UnknownKeyError

__all__ = ["Undecided"]

Reasons = list[tuple[Record, UnreadableError]]


class Undecided:
    """Keeps jobs due whose keys may be new, until the store has asked for its keys again.

    Otherwise a rotation of keys, right after a question for the keys, would put good jobs into
    quarantine. A job waits for one question only: else many jobs would be decided about in no more
    than one batch for each question.

    :param signatures: None without keys: then nothing is undecided.
    """

    def __init__(self, signatures: Signatures | None) -> None:
        self._keys = signatures.keys if signatures else None
        self._records: dict[IdKey, Record] = {}
        self._retry_at = 0.0  # by the monotonic clock
        self._waited: dict[IdKey, Any] = {}  # the signatures of those that waited before
        self._waited_until = 0.0

    def split(self, unrunnable: Reasons, read_at: float) -> tuple[Reasons, list[Record]]:
        """Return the jobs that can be decided about, and the others.

        :param read_at: a time before the jobs were read, by the monotonic clock.
        """
        if self._keys is None or self._keys.are_as_of(read_at):
            return unrunnable, []
        if self._records and self.retry_seconds <= 0:
            self._waited = {key: record.signature for key, record in self._records.items()}
            self._waited_until = self._retry_at
            self._records = {}
        waited = self._waited if self._keys.are_as_of(self._waited_until) else {}
        decided, undecided = Reasons(), []
        for record, reason in unrunnable:
            key = hashable_id(record.id)
            if isinstance(reason, UnknownKeyError) and waited.get(key) != record.signature:
                undecided.append(record)
                self._records[key] = record._replace(state=None)  # which may be large
            else:
                decided.append((record, reason))
        if undecided:
            self._retry_at = self._keys.retry_at
        return decided, undecided

    def current(self) -> Mapping[IdKey, Record]:
        """Return the jobs that wait, by the keys of their ids."""
        return self._records.copy() if self._records and self.retry_seconds > 0 else {}

    @property
    def retry_seconds(self) -> float:
        """The seconds until the jobs are looked at again."""
        return self._retry_at - time.monotonic()

    def forget(self, job_id: DocumentId) -> None:
        """Look at a job again, as its document is about to be written."""
        if self._records:
            self._records.pop(hashable_id(job_id), None)

    def forget_all(self) -> None:
        """Look at all jobs again."""
        self._records, self._waited = {}, {}

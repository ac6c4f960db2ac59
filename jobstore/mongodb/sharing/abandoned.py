"""Abandoned claims: a process ended in mid-cycle, and other schedulers take its jobs over.

An expired lease that was not released marks an abandoned claim. The mark counts as an attempt, so
nothing has to be written before a job runs. The next claim writes the count (`attempts.py`). As in
a recovery (`recovering.py`), a job with a count is claimed alone. Other abandoned jobs are claimed
in batches that double.
"""

from bson import ObjectId

from ..documents import Document
from ..presence.identity import process_identity
from ..recovery.attempts import attempt_count, incremented_count

__all__ = ["Abandoned", "incremented_if_abandoned", "is_abandoned"]


def is_abandoned(document: Document) -> bool:
    """Return whether another process claimed a free document and did not release it.

    Claims of this process don't count: it is alive.
    """
    if document.get("acquired_until") is None:
        return False
    token = document.get("acquired_by")
    return not isinstance(token, ObjectId) or process_identity(token) != process_identity()


def incremented_if_abandoned() -> Document:
    """Build the expression of `attempts` for a claim on jobs of which some were abandoned.

    A job may have been released since it was read. Such a job keeps its count.
    """
    has_lease_end = {"$eq": [{"$type": "$acquired_until"}, "date"]}
    return {"$cond": [has_lease_end, incremented_count(default=0), "$attempts"]}


class Abandoned:
    """Limits the abandoned jobs in one scheduler's claims: one suspect, or batches that double.

    Each scheduler doubles its own batches.
    """

    def __init__(self) -> None:
        self._batch_size = 1

    def select(self, documents: list[Document], limit: int) -> list[Document]:
        """Return the documents to claim: one suspect, or else some abandoned ones, or else all.

        :param limit: the largest number of abandoned documents to return.
        """
        suspects = [document for document in documents if attempt_count(document)]
        if suspects:
            return suspects[:1]
        abandoned = list(filter(is_abandoned, documents))
        if not abandoned:
            self._batch_size = 1
            return documents
        size = min(self._batch_size, limit)
        self._batch_size = 1 if len(abandoned) < size else 2 * size  # fewer: these are the last
        return abandoned[:size]

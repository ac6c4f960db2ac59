"""Claims that a process abandoned when it ended, and how others take them over.

A free document whose lease has an end was not given back. That is a count in itself: so nothing
has to be written before a job is run, and the next claim writes the count down (`attempts.py`).
As in a recovery (`recovery.py`), a job with a count is claimed alone, and others that were
abandoned in batches that double.
"""

from bson import ObjectId

from ..documents import Document
from ..recovery.attempts import attempts, once_more
from ..recovery.presence import process

__all__ = ["Abandoned", "abandoned_once_more", "is_abandoned"]


def is_abandoned(document: Document) -> bool:
    """Whether a claim of another process on a free document was not given back.

    A claim of this process says nothing of an end, as the process lives.
    """
    if document.get("acquired_until") is None:
        return False
    token = document.get("acquired_by")
    return not isinstance(token, ObjectId) or process(token) != process()


def abandoned_once_more() -> Document:
    """Build the count for a claim on a job that seemed abandoned, and may be so no more."""
    is_left = {"$eq": [{"$type": "$acquired_until"}, "date"]}
    return {"$cond": [is_left, once_more(least=0), "$attempts"]}


class Abandoned:
    """What a scheduler claims of jobs that others have left behind: few at a time.

    A claim that was abandoned is a count of itself: nothing needs to be written before a job is
    run. All of this is by scheduler, as is the doubling.
    """

    def __init__(self) -> None:
        self._size = 1

    def first(self, documents: list[Document], limit: int) -> list[Document]:
        """Return which of at most `limit` to claim: one suspect, or some abandoned ones, or all."""
        suspects = [document for document in documents if attempts(document)]
        if suspects:
            return suspects[:1]
        left = list(filter(is_abandoned, documents))
        if not left:
            self._size = 1
            return documents
        size = min(self._size, limit)
        self._size = 1 if len(left) < size else 2 * size  # that was the last of it
        return left[:size]

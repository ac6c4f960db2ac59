"""Records of the jobs that a policy has changed, for the history."""

from pymongo.errors import PyMongoError

from ..connection import START_SECONDS, Connection
from ..documents import Document, hashable_id, to_datetime
from ..history.incidents import Incidents
from ..writes.guarded import GuardedWrite

__all__ = ["Recorded"]


class Recorded:
    """Records the jobs of one pass, if the history is on.

    :param kind: the kind of the records.
    :param catch_up: the store's argument.
    """

    def __init__(
        self, connection: Connection, incidents: Incidents, kind: str, catch_up: str
    ) -> None:
        self._connection, self._incidents = connection, incidents
        self._kind, self._detail = kind, f'catch_up="{catch_up}"'

    def add(self, writes: list[GuardedWrite], all_applied: bool) -> None:
        """Record the writes that have applied; 1 command if not all have, else none.

        A job whose document doesn't show the write gets no record: another process has changed it.
        """
        if not self._incidents.is_recording:
            return
        for write in writes if all_applied else self._stored(writes):
            record, until = write.record, to_datetime(write.run_time)
            self._incidents.add(
                self._kind, record.id, record.run_time, until=until, detail=self._detail
            )

    def _stored(self, writes: list[GuardedWrite]) -> list[GuardedWrite]:
        query: Document = {"_id": {"$in": [write.record.id for write in writes]}}
        try:
            with self._connection.limit(START_SECONDS):
                found = list(self._connection.jobs.find(query, {"next_run_time": 1}))
        except PyMongoError:
            return []  # the jobs matter more than their records
        stored = {hashable_id(each["_id"]): each.get("next_run_time") for each in found}
        return [
            write
            for write in writes
            if stored.get(hashable_id(write.record.id), _GONE)
            == (_GONE if write.removes else write.run_time)
        ]


_GONE = object()  # instead of the run time of a job that is not stored

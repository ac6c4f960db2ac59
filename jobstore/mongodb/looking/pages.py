"""Pages of jobs, in order of (next run time, id), those without a run time last, or of id alone.

The index on run times sorts jobs of the same time in the order in which they were stored. So these
are read in order of id by a query of their own. An index on both fields would double the cost of a
cycle.
"""

from collections.abc import Callable
from itertools import groupby

from pymongo import ASCENDING

from ...describe import JobInfo, describe
from ...looking import check_limit
from ...run_times import UnreadableError, to_datetime
from ...where import Where
from ..connection import Connection
from ..documents import REPLACEMENT, Document, DocumentId, exact_str
from .filters import all_of, bounds, by_id, due, untimed
from .places import Place, following, is_storable_id, place_of

__all__ = ["Reader", "find", "one"]

BY_ID, BY_TIME = [("_id", ASCENDING)], [("next_run_time", ASCENDING)]
MOST = 200  # documents in a query, if few of those before were in the page


def find(
    connection: Connection, where: Where, after: JobInfo | str | None, limit: int
) -> list[JobInfo]:
    """Return a page of jobs; its methods are documented in the store.

    :raises ValueError: if `after` or `limit` can't be used; names it.
    """
    check_limit(limit)
    place = None if after is None else place_of(after)
    reader = Reader(connection, described)
    found: list[JobInfo] = []
    size = min(limit, MOST)
    while True:
        documents = reader.documents(where, place, size)
        for document in documents:
            job: JobInfo = document["job"]
            is_quarantined = job.quarantine is not None
            if where.includes(
                job.id, job.next_run_time, job.paused, is_quarantined
            ) and where.is_about(job.about):
                found.append(job)
                if len(found) == limit:
                    return found
        if len(documents) < size:
            return found
        place = Place(time_of(documents[-1]), documents[-1]["_id"])
        size = MOST


def one(connection: Connection, job_id: DocumentId) -> JobInfo | None:
    """Describe the job with that id, None if it isn't stored; 1 command."""
    if not is_storable_id(job_id):
        return None
    with connection.limit():
        document = connection.jobs.find_one({"_id": {"$eq": exact_str(job_id)}})
    return describe(document) if document else None


def described(document: Document) -> Document:
    """Replace a document's state by a description, which is short: a page may have 50 large jobs.

    The place of the document stays.
    """
    run_time = document.get("next_run_time")
    return {"_id": document["_id"], "next_run_time": run_time, "job": describe(document)}


def time_of(document: Document) -> float | None:
    """Return a document's run time in seconds; None if it has none."""
    run_time = document.get("next_run_time")
    try:
        return None if to_datetime(run_time) is None else run_time
    except UnreadableError:
        return None


class Reader:
    """Reads documents in one of the orders; each command has its own time limit.

    :param convert: called with each document when it is read; its result is kept.
    """

    def __init__(self, connection: Connection, convert: Callable[[Document], Document]) -> None:
        self._connection = connection
        self._convert = convert

    def documents(self, where: Where, place: Place | None, size: int) -> list[Document]:
        """Return the first documents after a place that may be meant; some may turn out not to be.

        :param size: the maximum number of documents.
        """
        if not where.is_by_time:
            return self.by_id(by_id(where), size, place)
        found: list[Document] = []
        if place is None or place.run_time is not None:
            found = self._timed(where, size, place)
            place = None
        if len(found) < size:
            found += self.by_id(untimed(where), size - len(found), place)
        return found

    def _timed(self, where: Where, size: int, place: Place | None) -> list[Document]:
        """Return the first jobs that have a run time."""
        first, end = bounds(where)
        found: list[Document] = []
        times = {"$gte": first, "$lt": end}
        if place is not None and (run_time := self._stored_time(place)) >= first:
            if run_time >= end:
                return []
            found = self.by_id(due(where, run_time), size, place)
            times = {"$gt": run_time, "$lt": end}
        if len(found) < size:
            found += self._by_time(where, times, size - len(found))
        return found

    def _stored_time(self, place: Place) -> float:
        """Return the run time as it is stored: other programs may store parts of a microsecond."""
        assert place.run_time is not None
        if isinstance(place.id, str) and REPLACEMENT in place.id:
            return place.run_time
        with self._connection.limit():
            stored = self._connection.jobs.find_one({"_id": {"$eq": place.id}}, ["next_run_time"])
        run_time = time_of(stored) if stored else None
        if run_time is None or to_datetime(run_time) != to_datetime(place.run_time):
            return place.run_time  # the job has run since, or is gone
        return run_time

    def _by_time(self, where: Where, times: Document, size: int) -> list[Document]:
        """Return the first documents in order of time, those of the same time in order of id."""
        ordered: list[Document] = []
        while True:
            wanted = size - len(ordered)
            # One more shows whether all documents of the last run time are there.
            found = self._read(due(where, times), BY_TIME, wanted + 1)
            is_cut = len(found) > wanted and time_of(found[-1]) == time_of(found[-2])
            groups = [(time, list(group)) for time, group in groupby(found[:wanted], key=time_of)]
            for at, (time, group) in enumerate(groups, start=1):
                is_whole = at < len(groups) or not is_cut
                if is_whole and (len(group) == 1 or all(map(has_plain_id, group))):
                    ordered += sorted(group, key=id_of)
                else:
                    ordered += self.by_id(due(where, time), len(group), None)
            if len(found) <= wanted or len(ordered) >= size:
                return ordered
            # Some of these jobs ran between the commands. A short page would be the last one.
            times = {**times, "$gt": groups[-1][0]}
            times.pop("$gte", None)

    def by_id(self, query: Document, size: int, place: Place | None) -> list[Document]:
        """Return the first documents in order of id, after that of `place` if there is one."""
        if place is None:
            return self._read(query, BY_ID, size)
        after, skip = place.id, 0
        if isinstance(after, str) and REPLACEMENT in after:
            after, skip = self._before_damaged(query, after)
        found: list[Document] = []
        for ids in following(after):
            if len(found) < size:
                found += self._read(all_of(ids, query), BY_ID, size - len(found), skip)
                skip = 0
        return found

    def _before_damaged(self, query: Document, job_id: str) -> tuple[str, int]:
        """Return an id, and how many documents follow it up to one that is not UTF-8.

        The id was read with replacement characters, so its bytes are not known. Its place is found
        among the ids that begin as it does.
        """
        start = job_id.partition(REPLACEMENT)[0] + "\x7f"  # before any byte that was replaced
        jobs, later = self._connection.jobs, all_of({"_id": {"$gt": start}}, query)
        last = None
        for at, each in enumerate(self._connection.read(jobs.find(later, ["_id"], sort=BY_ID)), 1):
            if each["_id"] == job_id:
                last = at
            elif last is not None:
                return start, last
        return (job_id, 0) if last is None else (start, last)

    def _read(
        self, query: Document, order: list[tuple[str, int]], limit: int, skip: int = 0
    ) -> list[Document]:
        jobs = self._connection.jobs
        with self._connection.limit():
            cursor = jobs.find(query, sort=order, skip=skip, limit=limit, batch_size=limit)
            return list(map(self._convert, cursor))


def id_of(document: Document) -> str:
    """Return a document's id, to sort by it; code points sort as the server's bytes do."""
    return str(document["_id"])


def has_plain_id(document: Document) -> bool:
    """Whether the id sorts here as it does in the server."""
    job_id = document["_id"]
    return isinstance(job_id, str) and REPLACEMENT not in job_id

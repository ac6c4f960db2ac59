"""Reads all documents of a query: by one cursor, or on a slow line page by page."""

from collections.abc import Callable, Iterator
from typing import Any

from bson import MaxKey, MinKey
from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from ..connection import Connection
from ..documents import REPLACEMENT, Document, Fields
from ..ordered import SAMPLE_SIZE
from .pace import affordable
from .paced import measured, time_limited, timed_out
from .sizes import SIZE, bytes_of, size_of

__all__ = ["end_of_page", "read_all"]

TRIES = 3  # of a page; each time-out cuts the budget to an eighth


def read_all(
    connection: Connection,
    query: Document,
    fields: Fields,
    on_restart: Callable[[], None],
    seconds: float | None,
    jobs: Collection[Document] | None = None,
    session: ClientSession | None = None,
) -> Iterator[list[Document]]:
    """Yield n documents, in batches, by one cursor; after a time-out begin again, by pages; O(n).

    A cursor's answer may have 16 MiB, and can't be repeated. So on a slow line the documents are
    read by ranges of their ids, each within the budget.

    :param on_restart: called before the read begins again; discards the earlier batches.
    :param seconds: the time limit of the first command, which may work on all documents; None is
        the usual limit.
    :param jobs: the collection; None is that of `connection`, with its usual options.
    :raises pymongo.errors.PyMongoError: if the server can't be reached, or pages time out, too.
    """
    jobs = connection.jobs if jobs is None else jobs
    pages = _Pages(connection, query, fields, jobs, session)
    if not connection.reading.is_bounded:
        try:
            yield from connection.read_batches(jobs.find(query, fields, session=session), seconds)
        except PyMongoError as error:
            if not timed_out(error):
                raise
            with connection.limit(connection.limit_seconds / 2):
                pages.sizes(MinKey(), SAMPLE_SIZE)  # raises in an outage
            connection.reading.note_timeout()
            on_restart()
        else:
            return
    yield from pages


class _Pages:
    """Reads by ranges of ids, whose borders stay when jobs are added or removed meanwhile."""

    def __init__(
        self,
        connection: Connection,
        query: Document,
        fields: Fields,
        jobs: Collection[Document],
        session: ClientSession | None,
    ) -> None:
        self._connection = connection
        self._query, self._fields = query, fields
        self._jobs, self._session = jobs, session

    def __iter__(self) -> Iterator[list[Document]]:
        first: Any = MinKey()
        tries = TRIES
        while first is not None:
            try:
                page, first = self._page(first)
            except PyMongoError as error:
                tries -= 1
                if not tries or not timed_out(error):
                    raise
                continue
            tries = TRIES
            yield page

    def _page(self, first: Any) -> tuple[list[Document], Any]:
        """Return the page that begins at an id, and the id at which the next one begins, if any."""
        limit = self._connection.reading.max_ids
        try:
            sized = self.sizes(first, limit + 1)
        except PyMongoError as error:
            if timed_out(error):
                self._connection.reading.note_timeout()
            raise
        end = end_of_page(sized, self._connection.reading.budget, is_last=len(sized) <= limit)
        following = sized[end]["_id"] if end < len(sized) else None
        last = MaxKey() if following is None else following
        if not sized:
            return [], following
        size = sum(map(size_of, sized[:end]))
        with time_limited(self._connection, self._connection.reading, lambda: size) as seconds:
            return self._range(self._fields, first, last, 0, seconds), following

    def sizes(self, first: Any, limit: int) -> list[Document]:
        """Return the ids and sizes of the first documents from an id on."""
        return self._range({"size": SIZE}, first, MaxKey(), limit)

    def _range(
        self, fields: Fields, first: Any, last: Any, limit: int, seconds: float | None = None
    ) -> list[Document]:
        documents: list[Document] = []
        connection = self._connection
        by_id = self._jobs.find(self._query, fields, limit=limit, session=self._session)
        by_id = by_id.min([("_id", first)]).max([("_id", last)]).hint([("_id", ASCENDING)])
        with (
            measured(connection, connection.reading, lambda: bytes_of(documents)),
            connection.limit(seconds),
        ):
            documents += by_id
        return documents


def end_of_page(sized: list[Document], budget: float, is_last: bool) -> int:
    """Return the place in `sized` of the document with which the next page begins.

    A page can't begin with an id that isn't UTF-8: it was read with replacement characters.

    :param sized: documents from the page's start on, with their sizes.
    :param budget: the maximum bytes of a page.
    :param is_last: whether no documents follow those of `sized`.
    """
    ends = [place for place in range(1, len(sized)) if REPLACEMENT not in str(sized[place]["_id"])]
    if is_last or not ends:
        ends.append(len(sized))
    fit, _ = affordable(list(map(size_of, sized)), budget)
    return max((end for end in ends if end <= fit), default=ends[0])

"""The client, the collection, and how long a command may take."""

import math
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import pymongo
from apscheduler.util import maybe_ref
from bson import Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient, ReadPreference
from pymongo.change_stream import CollectionChangeStream
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from .clients import open_client
from .documents import Document
from .slow_line.pace import Pace

__all__ = [
    "CLOSE_SECONDS",
    "READ_BATCH",
    "START_SECONDS",
    "TRANSIENT",
    "UNAUTHORIZED",
    "Connection",
    "operation_time",
]

COMMAND_SECONDS = 5.0  # the longest that one command may hold the scheduler
START_SECONDS = 30.0  # the longest at start, when an election may be under way
CLOSE_SECONDS = 5.0  # the longest that a store waits for its last commands
AWAIT_MS = 250
UNAUTHORIZED = 13
# Codes of errors that pass: of an election, a shutdown, a time limit, a conflict of writes.
TRANSIENT = {50, 91, 112, 189, 262, 10107, 11600, 11601, 11602, 13435, 13436, 14031}
READ_BATCH = 1000  # documents read under one limit
CODEC: CodecOptions[Document] = CodecOptions(
    document_class=dict,
    unicode_decode_error_handler="replace",  # one damaged document must not hide its batch
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=True,
)


class Connection:
    """A client, one that it made or one that it was given, and the jobs' collection.

    :param client: a `MongoClient`, a textual reference to one, or None: one is made.
    :param connect_args: for the `MongoClient` that is made.
    :ivar reading, writing: how many bytes a command may carry.
    :raises TypeError: if it is no client, or an asynchronous one.
    :raises ValueError: if writes are not acknowledged (``w=0``).
    """

    def __init__(
        self, database: str, collection: str, client: Any, connect_args: dict[str, Any]
    ) -> None:
        self._names = database, collection
        self._given = maybe_ref(client) if client is not None else None
        if self._given is not None and not is_client(self._given, database):
            raise TypeError(
                f"client is a {type(self._given).__name__}: it must be a pymongo.MongoClient, or "
                'name one ("module:name")'
            )
        self._connect_args = connect_args
        self.write_time = 0  # of the latest operation that a change stream has to be compared with
        self.writes = 0  # how many commands may have written something
        self.reading, self.writing = Pace(), Pace()
        self.closed = True
        self.open()

    def open(self) -> None:
        """Make the client, unless it is there, or other stores have made one like it."""
        if not self.closed:
            return
        if self._given is None:
            self._shared = open_client(self._connect_args, self)
        self.client: MongoClient[Document] = (
            self._shared.client if self._given is None else self._given
        )
        database, collection = self._names
        self.collection: Collection[Document] = self.client[database][collection]
        self.jobs = self.collection.with_options(
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern(),  # the server's own: no other watches, or sees our writes
        )
        self.closed = False
        if not self.jobs.write_concern.acknowledged:
            self.close()
            raise ValueError("w=0 would lose jobs without telling: use w=1 or more, or 'majority'")

    @property
    def meta(self) -> Collection[Document]:
        """The collection beside the jobs, ``<jobs>_meta``: who works on them, and how."""
        return self.jobs.database.get_collection(
            f"{self.jobs.name}_meta",
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            write_concern=self.jobs.write_concern,
        )

    def close(self) -> None:
        """Close the client, if it is our own and no other store's.

        Any other one is only not used for cycles any more.
        """
        if self._given is None:
            self._shared.remove_user(self)  # harmless the second time
        self.closed = True

    def limit(self, seconds: float | None = None) -> AbstractContextManager[object]:
        """Bound the time of a command, unless the user has bounded it.

        Limits of server selection would not bound a socket that hangs.
        """
        if self.client.options.timeout is not None:
            return nullcontext()
        return pymongo.timeout(COMMAND_SECONDS if seconds is None else seconds)

    @property
    def limit_seconds(self) -> float:
        """How long a command may take: as `limit` says."""
        limit = self.client.options.timeout  # the user's, in seconds; 0 is none
        return COMMAND_SECONDS if limit is None else limit or math.inf

    @property
    def is_slow(self) -> bool:
        """Whether commands have to be smaller than they could be."""
        return self.reading.is_bounded or self.writing.is_bounded

    @property
    def cycle_budget(self) -> float:
        """How many bytes of jobs a cycle may take; a guarded write carries them twice."""
        return min(self.reading.budget, self.writing.budget / 2)

    @property
    def await_ms(self) -> int:
        """How long the server waits for a change before it answers that there is none."""
        limit = self.client.options.timeout  # the user's, in seconds
        return AWAIT_MS if limit is None else min(AWAIT_MS, int(limit * 500))

    def read(self, cursor: Cursor[Document], seconds: float | None = None) -> Iterator[Document]:
        """Read a cursor, in batches, document by document."""
        for batch in self.read_batches(cursor, seconds):
            yield from batch

    def read_batches(
        self, cursor: Cursor[Document], seconds: float | None = None
    ) -> Generator[list[Document], None, None]:
        """Read a cursor; each batch has a time limit of its own, whatever their number.

        The limit of the first one, `seconds`, bounds what the server may work on all of them
        together.
        """
        with self.closing(cursor):
            while True:
                with self.limit(seconds):
                    batch = list(islice(cursor, READ_BATCH))
                if not batch:
                    return
                yield batch
                seconds = None

    @contextmanager
    def closing(
        self, cursor: Cursor[Document] | CollectionChangeStream[Document]
    ) -> Iterator[None]:
        """Close a cursor in the end: the server is told, and that takes a command as well."""
        try:
            yield
        finally:
            with self.limit():
                cursor.close()

    @contextmanager
    def session(self, seconds: float | None = None) -> Iterator[ClientSession]:
        """Bound the time of commands, and note when they happened, by the server's own clock."""
        with self.limit(seconds), self.client.start_session(causal_consistency=False) as session:
            try:
                yield session
            finally:
                self.write_time = max(self.write_time, operation_time(session.operation_time))
                self.writes += 1

    def now(self, seconds: float | None = None) -> Timestamp | None:
        """Ask for the time of the server's last operation; None if it is a standalone one."""
        with self.limit(seconds), self.client.start_session(causal_consistency=False) as session:
            self.client.admin.command("ping", session=session)
            time: Timestamp | None = session.operation_time
            return time

    def describe(self) -> str:
        """Name the servers; no password, nor any other option."""
        hosts = self.client.topology_description.server_descriptions()
        names = [f"{host}:{port}" for host, port in hosts]
        return f"MongoClient(host={names}), collection={'.'.join(self._names)}"


def is_client(given: Any, database: str) -> bool:
    """Whether it is a `MongoClient`, or wraps one: then its databases are PyMongo's own."""
    if isinstance(given, MongoClient):
        return True
    try:
        return isinstance(given[database], Database)
    except Exception:
        return False


def operation_time(timestamp: Timestamp | None) -> int:
    """Make a number of a server's operation time; 0 if it has none, as a standalone one."""
    return (timestamp.time << 32) + timestamp.inc if timestamp else 0

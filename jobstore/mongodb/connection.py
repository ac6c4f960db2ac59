"""The client, the jobs' collection, and the time limits of commands."""

import math
import threading
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

COMMAND_SECONDS = 5.0  # a command's time limit: so long it may block the scheduler
START_SECONDS = 30.0  # a command's time limit at start, when an election may be under way
CLOSE_SECONDS = 5.0  # the longest that `shutdown` waits for the last commands
AWAIT_MS = 250
UNAUTHORIZED = 13
# Codes of transient errors: of an election, a shutdown, a time limit, a write conflict, ...
TRANSIENT = {50, 91, 112, 189, 262, 10107, 11600, 11601, 11602, 13435, 13436, 14031}
# ... a query killed by a change of its collection, a cursor killed by an administrator, ...
TRANSIENT |= {175, 237}
TRANSIENT |= {462, 463}  # ... and a command that an overloaded server has not begun
ROUTERS = {"Mongos", "LoadBalancer"}  # a load balancer stands before several mongos
READ_BATCH = 1000  # documents of a cursor that are read within one time limit
CODEC: CodecOptions[Document] = CodecOptions(
    document_class=dict,
    unicode_decode_error_handler="replace",  # one damaged document must not hide its batch
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=True,
)


class Connection:
    """Holds a client and the jobs' collection, and bounds the time of commands.

    :param client: a `MongoClient`, or a textual reference to one; None makes one, or shares that
        of another store with the same arguments.
    :param connect_args: arguments of the `MongoClient` to make.
    :ivar reading, writing: bound the bytes of commands on a slow line.
    :ivar last_write: a new object after each session, which may have written something.
    :raises TypeError: if `client` is not a synchronous client.
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
        self._write_times: dict[int, int] = {}  # by thread: each changes only its own
        self.last_write = object()
        self.reading, self.writing = Pace(), Pace()
        self.closed = True
        self.open()

    def open(self) -> None:
        """Open a connection that is closed: make a client, or share that of other stores.

        :raises ValueError: if writes are not acknowledged (``w=0``).
        """
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
            # The server's default: others hide our own last writes, or refuse change streams.
            read_concern=ReadConcern(),
        )
        self.closed = False
        if not self.jobs.write_concern.acknowledged:
            self.close()
            raise ValueError("w=0 would lose jobs silently: use w=1 or more, or 'majority'")

    @property
    def meta(self) -> Collection[Document]:
        """The collection ``<jobs>_meta``: which schedulers run, and whether they share jobs."""
        return self._companion("meta")

    @property
    def runs(self) -> Collection[Document]:
        """The collection ``<jobs>_runs``: the history."""
        return self._companion("runs")

    def _companion(self, name: str) -> Collection[Document]:
        return self.jobs.database.get_collection(
            f"{self.jobs.name}_{name}",
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern(),  # "majority" would hide a start that is just under way
            write_concern=self.jobs.write_concern,
        )

    @property
    def is_routed(self) -> bool:
        """Whether commands go through a mongos; known after the first command."""
        servers = self.client.topology_description.server_descriptions().values()
        return any(each.server_type_name in ROUTERS for each in servers)

    def close(self) -> None:
        """Close the client if this package made it and no other store uses it.

        A client that the user gave stays open, but cycles no longer use it.
        """
        if self._given is None:
            self._shared.remove_user(self)  # harmless the second time
        self.closed = True

    def limit(self, seconds: float | None = None) -> AbstractContextManager[object]:
        """Bound the time of a command to `seconds`, 5 s if None, unless the user has set a limit.

        A limit for server selection would not bound a socket that hangs.
        """
        if self.client.options.timeout is not None:
            return nullcontext()
        return pymongo.timeout(COMMAND_SECONDS if seconds is None else seconds)

    @property
    def limit_seconds(self) -> float:
        """The usual time limit of a command, in seconds: the user's, or 5."""
        limit = self.client.options.timeout  # the user's, in seconds; 0 is none
        return COMMAND_SECONDS if limit is None else limit or math.inf

    @property
    def is_slow(self) -> bool:
        """Whether a slow line limits the size of commands."""
        return self.reading.is_bounded or self.writing.is_bounded

    @property
    def cycle_budget(self) -> float:
        """The maximum bytes of jobs in a cycle; a guarded write carries each state twice."""
        return min(self.reading.budget, self.writing.budget / 2)

    @property
    def await_ms(self) -> int:
        """How long the server waits for a change before it returns an empty batch, in ms."""
        limit = self.client.options.timeout  # the user's, in seconds
        return AWAIT_MS if limit is None else min(AWAIT_MS, int(limit * 500))

    def read(self, cursor: Cursor[Document], seconds: float | None = None) -> Iterator[Document]:
        """Yield a cursor's documents; as `read_batches`."""
        for batch in self.read_batches(cursor, seconds):
            yield from batch

    def read_batches(
        self, cursor: Cursor[Document], seconds: float | None = None
    ) -> Generator[list[Document], None, None]:
        """Yield a cursor's documents in batches, each with its own time limit.

        :param seconds: the limit of the first batch, for which the server may have to work on all
            documents; None is the usual limit.
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
        """Close the cursor at the end, within a time limit: closing sends a command."""
        try:
            yield
        finally:
            with self.limit():
                cursor.close()

    @contextmanager
    def session(self, seconds: float | None = None) -> Iterator[ClientSession]:
        """Yield a session for writes: bounds their time, and notes their operation time.

        :raises KeyboardInterrupt: if a signal's handler has raised within PyMongo's C code.
        """
        with self.limit(seconds), self.client.start_session(causal_consistency=False) as session:
            try:
                yield session
            except SystemError as error:
                if is_interrupt(error):
                    raise KeyboardInterrupt from error
                raise
            finally:
                thread, time = threading.get_ident(), operation_time(session.operation_time)
                self._write_times[thread] = max(time, self._write_times.get(thread, 0))
                self.last_write = object()

    @property
    def write_time(self) -> int:
        """The latest operation time of all sessions, as a number; 0 before the first one.

        A mirror compares it with the change stream's time.
        """
        return max(list(self._write_times.values()), default=0)

    def now(self, seconds: float | None = None) -> Timestamp | None:
        """Ask the server for its last operation time, None if it is standalone; 1 command."""
        with self.limit(seconds), self.client.start_session(causal_consistency=False) as session:
            self.client.admin.command("ping", session=session)
            time: Timestamp | None = session.operation_time
            return time

    def describe(self) -> str:
        """Name the servers and the collection, for logs; without passwords or options."""
        hosts = self.client.topology_description.server_descriptions()
        names = [f"{host}:{port}" for host, port in hosts]
        return f"MongoClient(host={names}), collection={'.'.join(self._names)}"


def is_client(given: Any, database: str) -> bool:
    """Whether `given` is a `MongoClient`, or wraps one and returns PyMongo's own databases."""
    if isinstance(given, MongoClient):
        return True
    try:
        return isinstance(given[database], Database)
    except Exception:
        return False


def is_interrupt(error: SystemError) -> bool:
    """Whether the error hides the exception of a signal's handler, such as `KeyboardInterrupt`.

    The handler runs in the main thread, perhaps while PyMongo's C code reads a property for a bulk
    write. That code doesn't check for an exception, and passes NULL on, which is this error:
    https://github.com/mongodb/mongo-python-driver/blob/4.20.1/pymongo/_cmessagemodule.c#L377
    """
    is_null = "bad argument to internal function" in str(error)
    return is_null and threading.current_thread() is threading.main_thread()


def operation_time(timestamp: Timestamp | None) -> int:
    """Convert an operation time to a number; 0 if None, as from a standalone server."""
    return (timestamp.time << 32) + timestamp.inc if timestamp else 0

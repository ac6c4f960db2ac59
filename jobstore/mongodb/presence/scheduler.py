"""The presence of schedulers, as others read it: the documents in ``<jobs>_meta``."""

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ..connection import Connection
from ..documents import Document, subdocument

__all__ = ["SCHEDULERS", "Scheduler", "read_schedulers"]

SCHEDULERS: Document = {"_id": re.compile("^scheduler:")}
# Documents that others ignore; in the server, a missing time sorts first.


class Scheduler(NamedTuple):
    """A scheduler that uses a collection, as its presence says.

    :ivar id: ``scheduler:<host>:<pid>:<token>``, the document's `_id`.
    :ivar host: the name of its machine.
    :ivar pid: the number of its process there.
    :ivar mode: ``"queried"``, ``"mirrored"``, ``"exclusive"`` or ``"shared"``.
    :ivar others: the store's argument `others`.
    :ivar history: the store's argument `history`.
    :ivar state: ``"firing"``; ``"paused"``, if the scheduler is, and fires nothing until it is
        resumed; ``"waiting"`` on a hot standby; or ``"idle"``, if no scheduler asks the store for
        jobs: it was started without one, or removed from it, or its scheduler has stopped and waits
        for running jobs.
    :ivar versions: of jobstore, APScheduler, PyMongo and Python, by name.
    :ivar executors: by alias: ``{"type": ..., "workers": ...}``; the number may be None.
    :ivar started: when it started, by the server's clock.
    :ivar seen: when it last wrote the document, by the server's clock.
    :ivar expires: when others ignore it if it writes no more, by the server's clock.
    :ivar clock_ahead: how far its clock is ahead of the server's, in seconds, with the time that
        the write took to reach the server; None if unknown.
    :ivar counters: numbers since its start, as `Counters.to_document` names them.
    :ivar status: its store's `Status` as a dict, when it wrote the document.
    :ivar alive: whether it had not expired when it was read.
    :ivar age: the seconds since `seen` when it was read; None if unknown.
    """

    id: str
    host: str
    pid: int
    mode: str
    others: str
    history: str | None
    state: str
    versions: dict[str, str]
    executors: dict[str, Any]
    started: datetime | None
    seen: datetime | None
    expires: datetime | None
    clock_ahead: float | None
    counters: dict[str, Any]
    status: dict[str, Any]
    alive: bool
    age: float | None

    @property
    def name(self) -> str:
        """The name for people: ``<host>:<pid>``."""
        return f"{self.host}:{self.pid}"

    @property
    def shares(self) -> bool:
        """Whether it claims the jobs that it fires."""
        return self.mode == "shared"

    @classmethod
    def of(cls, document: Document, now: datetime) -> "Scheduler":
        """Read a document, which an older version may have written.

        :param now: the server's time.
        """
        name = str(document["_id"])
        _, _, rest = name.partition(":")
        host, _, rest = rest.rpartition(":")[0].rpartition(":")
        seen, expires, clock = (_time(document.get(key)) for key in ("seen", "expires", "clock"))
        return cls(
            name,
            host,
            int(rest) if rest.isdecimal() and len(rest) < 10 else 0,
            str(document.get("mode", "")),
            str(document.get("others", "")),
            _text(document.get("history")),
            str(document.get("state", "")),
            dict(subdocument(document, "versions")),
            _executors(document.get("executors")),
            _time(document.get("started")),
            seen,
            expires,
            (clock - seen) / timedelta(seconds=1) if clock and seen else None,
            dict(subdocument(document, "counters")),
            dict(subdocument(document, "status")),
            expires is not None and expires > now,
            (now - seen) / timedelta(seconds=1) if seen else None,
        )


def read_schedulers(
    connection: Connection, seconds: float | None = None, *, brief: bool = False
) -> list[Scheduler]:
    """Read the presence of all schedulers, in order of their names; 1 command.

    :param seconds: the time limit; None is the usual one.
    :param brief: whether to leave out all that only people want to know.
    :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
    """
    pipeline: list[Document] = [
        {"$match": SCHEDULERS},
        {"$sort": {"_id": 1}},
        {"$project": {"document": "$$ROOT", "now": "$$NOW"}},
    ]
    if brief:
        details = dict.fromkeys(("counters", "status", "versions", "executors"), 0)
        pipeline.insert(1, {"$project": details})
    with connection.limit(seconds):
        found = list(connection.meta.aggregate(pipeline))
    return [Scheduler.of(each["document"], each["now"]) for each in found]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _executors(value: object) -> dict[str, Any]:
    """Read the list of executors; their aliases are no keys, which can't begin with a dollar."""
    found = value if isinstance(value, list) else []
    return {
        str(each.get("alias")): {"type": str(each.get("type")), "workers": each.get("workers")}
        for each in found
        if isinstance(each, dict)
    }

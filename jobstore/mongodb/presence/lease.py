"""The firing lease: of all schedulers with ``others="wait"``, its holder alone fires jobs.

The lease is a document, ``{_id: "firing", by, token, since, expires, previous}``, in the collection
``<jobs>_meta``. One statement takes it, or renews it, or leaves it to its holder. The server
decides by its clock whether a lease has ended. The holder measures its lease by the monotonic
clock, from before it sent the request. So the lease ends earlier for its holder than for the
server.
"""

import time
from math import inf
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from ..connection import COMMAND_SECONDS, Connection
from ..documents import Document

__all__ = ["EXPIRED", "FiringLease"]

LEASE: Document = {"_id": "firing"}
EXPIRED: Document = {"$lte": ["$expires", "$$NOW"]}  # in the server, a missing time sorts first


class FiringLease:
    """The lease of one scheduler, from its start to its shutdown.

    :param seconds: how long the lease lasts.
    :ivar ends_at: when it ends, by the monotonic clock; minus infinity if it is not held.
    :ivar holder: the name of the scheduler that held it at the last request; "" before.
    :ivar previous: the name of the scheduler whose lease had ended when this one took it; "" if
        the lease was given back, or is taken for the first time.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._token = ObjectId()
        self._since: Any = None
        self._may_be_held = False  # also after a request whose reply was lost
        self.ends_at = -inf
        self.holder = self.previous = ""

    @property
    def is_held(self) -> bool:
        """Whether the lease is held now."""
        return time.monotonic() < self.ends_at

    def request(self, name: str) -> bool:
        """Take the lease, or renew it; 1 command. Returns whether it is held anew.

        It is held anew if others may have held it since the last request that succeeded. `ends_at`
        says whether it is held. After an error the lease ends when it would have ended before. A
        request whose reply was lost does no harm: the next one renews the lease.

        :param name: the scheduler's.
        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
        """
        # Only a write that the majority has is safe from the next failover.
        meta = self._connection.meta.with_options(write_concern=WriteConcern("majority"))
        is_ours = {"$eq": ["$token", self._token]}
        self._may_be_held = True
        started = time.monotonic()
        lease: Document = {}
        try:
            with self._connection.limit(min(COMMAND_SECONDS, self._seconds / 2)):
                lease |= meta.find_one_and_update(  # type: ignore[arg-type]  # never None
                    LEASE,
                    self._grant(name, is_ours),
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            pass  # another scheduler has made the document at this moment
        self.holder = str(lease.get("by", ""))
        self._may_be_held = lease.get("token") == self._token
        if not self._may_be_held:
            self.ends_at = -inf
            return False
        self.ends_at = started + self._seconds
        is_new = bool(lease.get("since") != self._since)
        if is_new:
            self._since = lease.get("since")
            self.previous = str(lease.get("previous") or "")
        return is_new

    def _grant(self, name: str, is_ours: Document) -> list[Document]:
        """Build the update, which changes nothing while another scheduler holds the lease."""
        granted: Document = {
            "by": {"$literal": name},
            "token": self._token,
            "since": {"$cond": [is_ours, "$since", "$$NOW"]},
            "previous": {"$cond": [is_ours, "$previous", {"$ifNull": ["$by", None]}]},
            "expires": {"$add": ["$$NOW", round(self._seconds * 1000)]},
        }
        is_free = {"$or": [is_ours, EXPIRED]}
        return [
            {"$set": {key: {"$cond": [is_free, new, f"${key}"]} for key, new in granted.items()}}
        ]

    def give_back(self) -> None:
        """Let others take the lease at once; 1 command, none if others hold it.

        :raises pymongo.errors.PyMongoError: if the server can't be reached. Then the lease ends by
            itself.
        """
        self.ends_at = -inf
        if self._may_be_held:
            self._may_be_held = False
            with self._connection.limit():
                self._connection.meta.delete_one({**LEASE, "token": self._token})

"""The names of schedulers, ``scheduler:<host>:<pid>:<token>``, and what a name tells."""

import os
import socket

from bson import ObjectId

__all__ = ["is_of_this_process", "new_name", "process_identity", "shown"]

LONGEST_NAME = 120  # characters of a name in a log line


def process_identity(object_id: ObjectId | None = None) -> bytes:
    """Return the 5 random bytes that identify the process that made an `ObjectId`.

    A forked process has other bytes than its parent. The layout is specified in
    https://github.com/mongodb/specifications/blob/master/source/bson-objectid/objectid.md

    :param object_id: None for the identity of this process.
    """
    return (object_id or ObjectId()).binary[4:9]


def new_name() -> str:
    """Return a new name for a scheduler of this process."""
    return f"scheduler:{socket.gethostname()}:{os.getpid()}:{ObjectId()}"


def is_of_this_process(name: str) -> bool:
    """Whether this very process has made the name; the number of a process may come again."""
    token = name.rpartition(":")[2]
    return ObjectId.is_valid(token) and process_identity(ObjectId(token)) == process_identity()


def shown(name: str) -> str:
    """Return a name, which anybody may have written, for a log line: short, and on one line."""
    return name if name.isprintable() and len(name) <= LONGEST_NAME else repr(name)[:LONGEST_NAME]

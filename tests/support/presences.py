"""Documents of presence, as schedulers write them, or as anybody else might."""

import os
from datetime import datetime, timedelta, timezone

from bson import ObjectId

from support.jobs import at

__all__ = ["LATE", "NONSENSE", "enlarge_oplog", "plant", "plant_nonsense"]

LATE = [0] * 16


def enlarge_oplog(client):
    """Give the server's oplog room: the doctor reports a full one, as other tests may leave it."""
    client.admin.command({"replSetResizeOplog": 1, "size": 990.0})  # MB, the least that it takes


def plant(collection, host="web-1", pid=4711, *, age=1.0, lives=True, **more):
    """Add the presence of a scheduler that fires jobs; returns its `_id`.

    It is that of another process: a scheduler here would remove one of a store that is gone.

    :param age: the seconds since it wrote the document.
    :param more: other fields of the document.
    """
    now = datetime.now(timezone.utc)
    document = {
        "_id": f"scheduler:{host}:{pid}:{ObjectId(os.urandom(12))}",
        "mode": "queried",
        "others": "warn",
        "state": "firing",
        "versions": {"jobstore": "0.1.0", "apscheduler": "3.11.3", "python": "3.11.9"},
        "executors": [{"alias": "default", "type": "ThreadPoolExecutor", "workers": 10}],
        "started": now - timedelta(hours=1),
        "seen": now - timedelta(seconds=age),
        "expires": now + timedelta(seconds=600 if lives else -1),
        "clock": now - timedelta(seconds=age),
        "counters": {"fired": 12},
        "status": {},
    }
    collection.database[f"{collection.name}_meta"].insert_one(document | more)
    return document["_id"]


NONSENSE = [
    float("nan"),
    float("inf"),
    -1,
    10**18,
    "text",
    True,
    None,
    [],
    {"a": 1},
    b"\xff",
    at(0),
]


def plant_nonsense(collection):
    """Add presences in whose fields anything stands."""
    for value in NONSENSE:
        names = ["cycle", "pending", "lag", "fired", "lateness", "leases_lost"]
        plant(collection, "inner", status=dict.fromkeys(names, value))
        plant(
            collection, "inner", counters=dict.fromkeys(names, value), versions={"jobstore": value}
        )
        for name in ("mode", "state", "versions", "started", "seen", "counters", "status"):
            plant(collection, name, **{name: value})

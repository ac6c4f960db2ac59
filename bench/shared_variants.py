"""One scheduler on a shared collection, and the bare commands of its cycle."""

import pickle
import time
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from apscheduler.job import Job
from apscheduler.util import datetime_to_utc_timestamp
from bson import ObjectId
from measure import Variant
from mongodb_variants import make_document, make_job, now

import jobstore
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.connection import Connection
from jobstore.mongodb.documents import Record
from jobstore.mongodb.sharing.lease import UNLEASED, lease_end
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.sending import send

__all__ = ["BareCommands", "make_due", "shared"]


def shared(client: Any, collection: str, **options: Any) -> Any:
    return jobstore.MongoDBJobStore(
        "bench", collection, client=client, shared=True, watch=False, **options
    )


def make_due(collection: Any, count: int) -> None:
    """Insert due jobs into a new collection, and wait until they are on disk.

    The collection is new because the server keeps old versions of rewritten documents for
    minutes. The wait keeps the server's writes of these documents out of the schedulers' time.
    """
    collection.drop()
    for name in ("next_run_time", "quarantine.since"):
        collection.create_index(name, sparse=True)
    past = now() - timedelta(minutes=1)
    jobs = (make_job(i, past + timedelta(microseconds=i)) for i in range(count))
    while batch := list(islice(jobs, 10_000)):
        collection.insert_many([make_document(job) for job in batch], ordered=False)
    collection.database.client.admin.command("fsync")


class BareCommands:
    """A cycle of only a raw claim, unpickling, pickling and a guarded flush."""

    def __init__(self, client: Any, due: int) -> None:
        self.connection = Connection("bench", "bare", client, {})
        self.jobs = self.connection.jobs
        self.jobs.create_index("next_run_time", sparse=True)
        self.due = due

    def make_due(self) -> None:
        make_due(self.jobs, self.due)

    def times(self) -> tuple[float, datetime]:
        """Return the present time, and the run time after it."""
        return time.time(), now() + timedelta(hours=1)

    def cycle(self) -> None:
        present, following = self.times()
        due = {"next_run_time": {"$lte": present}, **UNLEASED}
        first = self.jobs.find(due, ["_id"], sort=[("next_run_time", 1)], batch_size=self.due + 1)
        ids = [document["_id"] for document in first]
        token = ObjectId()
        claim = {"$set": {"acquired_by": token, "acquired_until": lease_end(10)}}
        self.jobs.update_many({"_id": {"$in": ids}, **due}, [claim])
        won = {"_id": {"$in": ids}, "acquired_by": token}
        run_time = datetime_to_utc_timestamp(following)
        writes = []
        for document in self.jobs.find(won, batch_size=self.due + 1):
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(document["job_state"]))
            job.next_run_time = following
            state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
            writes.append(GuardedWrite(Record.of(document), run_time, state))
        send(self.connection, Codec(), writes)
        self.jobs.find_one(due, ["next_run_time"], sort=[("next_run_time", 1)])

    def variant(self) -> Variant:
        return Variant(self.cycle, self.due, before=self.make_due)

"""Many schedulers on one collection, against the bare commands and against fewer schedulers."""

import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.util import datetime_to_utc_timestamp
from bson import ObjectId
from measure import Variant
from mongodb_variants import Counter as CommandCounter
from mongodb_variants import CycleVariant, make_document, make_job, median, now
from pymongo import MongoClient

import jobstore
from jobstore.mongodb.connection import Connection
from jobstore.mongodb.documents import Record
from jobstore.mongodb.sharing.lease import UNLEASED, lease_end
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.sending import send
from jobstore.testing import Server

TABLE = "MongoDB, many schedulers on one collection"
CHILD = Path(__file__).with_name("shared_scheduler_child.py")
DUE = 1_000
MANY = 40_000


def shared(client: Any, collection: str) -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client, shared=True, watch=False)


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

    def cycle(self) -> None:
        due = {"next_run_time": {"$lte": time.time()}, **UNLEASED}
        first = self.jobs.find(due, ["_id"], sort=[("next_run_time", 1)], batch_size=self.due + 1)
        ids = [document["_id"] for document in first]
        token = ObjectId()
        claim = {"$set": {"acquired_by": token, "acquired_until": lease_end(10)}}
        self.jobs.update_many({"_id": {"$in": ids}, **due}, [claim])
        won = {"_id": {"$in": ids}, "acquired_by": token}
        following = now() + timedelta(hours=1)
        run_time = datetime_to_utc_timestamp(following)
        writes = []
        for document in self.jobs.find(won, batch_size=self.due + 1):
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(document["job_state"]))
            job.next_run_time = following
            state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
            writes.append(GuardedWrite(Record.of(document), run_time, state))
        send(self.connection, writes)
        self.jobs.find_one(due, ["next_run_time"], sort=[("next_run_time", 1)])

    def variant(self) -> Variant:
        return Variant(self.cycle, self.due, before=lambda: make_due(self.jobs, self.due))


@pytest.mark.check
def test_one_scheduler_against_bare_commands(measure: Any, report: Any, client: Any) -> None:
    variant = CycleVariant(shared(client, "shared"), DUE)

    def before() -> None:  # the same as for the bare commands
        make_due(variant.store.collection, DUE)
        variant.seconds = 0.0

    ours = Variant(variant.cycle, DUE, before=before, after=variant.check)
    _, bare = measure(ours, BareCommands(client, DUE).variant(), rounds=31)
    values = {"ours": median(variant.in_store[1:]) / DUE * 1e6, "bare": bare}
    row = "one scheduler, 1,000 due; bare: raw claim, guarded flush"
    report(TABLE, row, values, "ours / bare", target=1.3, at_most=True)


class Schedulers:
    """`count` processes with one scheduler each. A round ends when no job is due any more."""

    def __init__(self, server: Server, collection: Any, count: int) -> None:
        self.collection = collection
        command = [sys.executable, CHILD, server.uri, collection.name]
        self.children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        self.counts: Counter[str] = Counter()

    def go(self) -> None:
        for child in self.children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in self.children:
            assert child.stdout
            self.counts.update(json.loads(child.stdout.readline()))

    def before(self) -> None:
        make_due(self.collection, MANY)
        self.counts.clear()

    def check(self) -> None:
        """Assert that the schedulers ran each job once."""
        assert self.counts["jobs"] == MANY
        assert not self.collection.count_documents({"next_run_time": {"$lte": time.time()}})

    def close(self) -> None:
        for child in self.children:
            child.communicate()


@pytest.mark.parametrize(
    ("fewer", "more", "target"),
    [(1, 2, 1.6), (2, 4, 0.9), pytest.param(4, 8, None, marks=pytest.mark.full)],
)
def test_more_schedulers(
    measure: Any, report: Any, server: Server, client: Any, fewer: int, more: int, target: float
) -> None:
    groups = [
        Schedulers(server, client["bench"][f"shared by {count}"], count) for count in (fewer, more)
    ]
    variants = [Variant(each.go, MANY, before=each.before, after=each.check) for each in groups]
    times = measure(*variants, rounds=11)
    for group in groups:
        group.close()
        print(f"{len(group.children)} schedulers, last round: {dict(group.counts)}")
    values = {f"{fewer}": times[0], f"{more}": times[1]}
    row = f"40,000 due, {fewer} schedulers and {more}"
    report(TABLE, row, values, f"{fewer} / {more}", target=target)


@pytest.mark.check
def test_commands(benchmark: Any, report: Any, server: Server, client: Any) -> None:
    counter = CommandCounter()
    with MongoClient[dict[str, Any]](server.uri, event_listeners=[counter]) as counted:
        variant = CycleVariant(shared(counted, "counted"), DUE)
        variant.make_due()
        counter.count = 0
        variant.cycle()
    benchmark.pedantic(lambda: None)
    row = "a cycle, 1,000 due"
    values = {"ours": counter.count}
    report(f"{TABLE}: commands", row, values, "ours", target=6, at_most=True, unit="commands")

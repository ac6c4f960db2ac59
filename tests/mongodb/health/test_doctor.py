"""The doctor finds each fault of a server, a collection or a scheduler, and says what to do."""

import pytest
from bson import ObjectId
from pymongo import MongoClient, monitoring

from jobstore import MongoDBJobStore
from support.jobs import at, job


def by_name(store):
    """Return the doctor's findings, in lists by their names."""
    found = {}
    for finding in store.doctor():
        found.setdefault(finding.name, []).append(finding)
    return found


def the(store, name):
    """Return the doctor's only finding of a name."""
    (finding,) = by_name(store)[name]
    return finding


NOW, LATER = "$$NOW", {"$add": ["$$NOW", 30_000]}
VERSIONS = {"jobstore": "0.2.0", "apscheduler": "3.11.3", "pymongo": "4.20.1", "python": "3.13.1"}


def announce(store, host="web-1", ahead=0.0, **fields):
    """Write the presence of a scheduler that lives."""
    clock = {"$add": [NOW, int(ahead * 1000)]}
    times = {"started": NOW, "seen": NOW, "expires": LATER, "clock": clock}
    plain = {"mode": "queried", "state": "firing", "others": "warn", "versions": VERSIONS}
    plain |= {"executors": {}, "counters": {}, "status": {}}
    stages = [{"$set": times}, {"$set": {key: {"$literal": each} for key, each in plain.items()}}]
    stages.append({"$set": {key: {"$literal": each} for key, each in fields.items()}})
    name = f"scheduler:{host}:17:{ObjectId()}"
    meta = store.collection.database[f"{store.collection.name}_meta"]
    meta.update_one({"_id": name}, stages, upsert=True)


@pytest.fixture
def healthy(store):
    """Return a store that was started once, and whose scheduler lives."""
    store.start(None, "default")
    store.shutdown()
    store = MongoDBJobStore(store.collection.database.name, client=store.client)
    announce(store)
    return store


def test_healthy_store_has_no_finding_that_is_not_well(healthy):
    healthy.add_job(job("a"))
    found = healthy.doctor()
    assert [each for each in found if each.level != "well"] == []
    texts = {each.name: each.text for each in found}
    assert texts["jobs"].endswith(".jobs has 1 job")
    assert texts["schedulers"] == "web-1:17 (queried, firing)"


class AllCommands(monitoring.CommandListener):
    """Lists all commands of a client."""

    def __init__(self):
        self.names = []

    def started(self, event):
        self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    failed = succeeded


READS = {
    "hello",
    "ping",
    "buildinfo",
    "buildInfo",
    "endSessions",
    "connectionStatus",
    "getDefaultRWConcern",
    "getParameter",
}
READS |= {"find", "aggregate", "count", "getMore"}


def test_doctor_sends_only_commands_that_read(healthy, server):
    listener = AllCommands()
    with MongoClient(server.uri, event_listeners=[listener]) as client:
        MongoDBJobStore(healthy.collection.database.name, client=client).doctor()
    assert {"connectionStatus", "getParameter", "count"} <= set(listener.names) <= READS
    assert len(listener.names) <= 20


def test_missing_indexes_are_named_with_the_command_that_creates_them(healthy):
    healthy.add_job(job("a"))
    healthy.collection.drop_indexes()
    finding = the(healthy, "indexes")
    assert finding.level == "degraded"
    assert finding.text.startswith("no index on next_run_time and quarantine.since")
    assert 'createIndex({"quarantine.since": 1}, {sparse: true})' in finding.advice
    healthy.collection.create_index("next_run_time", sparse=True)
    assert the(healthy, "indexes").text.startswith("no index on quarantine.since")


def test_jobs_in_quarantine_are_counted_with_the_reason_of_one(healthy):
    healthy.add_jobs([job("a"), job("b")])
    mark = {"reason": "LookupError: gone", "since": at(0), "next_run_time": 5.0}
    healthy.collection.update_many({}, {"$set": {"quarantine": mark, "next_run_time": None}})
    finding = the(healthy, "quarantine")
    assert finding.level == "degraded"
    assert finding.text.startswith("2 jobs in quarantine")
    assert finding.text.endswith("LookupError: gone")

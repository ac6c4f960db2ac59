"""The doctor finds each fault of a collection or its schedulers, and says what to do."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient, monitoring

from jobstore import MongoDBJobStore
from support.jobs import at, job
from support.presences import enlarge_oplog, plant
from support.waiting import until

SMALL = 2  # connections of a client: too few for a watcher and two cycles


def found(store, name):
    """Return the doctor's findings of a name."""
    return [each for each in store.doctor() if each.name == name]


def the(store, name):
    """Return the doctor's only finding of a name."""
    (finding,) = found(store, name)
    return finding


def meta(store):
    return store.collection.database[f"{store.collection.name}_meta"]


@pytest.fixture
def bare(server, database):
    """Return a store that was started once, so that the collection has its indexes and format."""
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client)
        store.start(None, "default")
        store.shutdown()
        yield MongoDBJobStore(database.name, client=client)


@pytest.fixture
def healthy(bare):
    """Return a store whose collection has a living scheduler."""
    enlarge_oplog(bare.collection.database.client)
    plant(bare.collection)
    return bare


def test_healthy_store_has_no_finding_that_is_not_well(healthy):
    healthy.add_job(job("a"))
    findings = healthy.doctor()
    assert [each for each in findings if each.level != "well"] == []
    texts = {each.name: each.text for each in findings}
    assert texts["jobs"].endswith(".jobs has 1 job")
    assert texts["schedulers"] == "web-1:4711 (queried, firing)"
    assert texts["format"] == "format 1 to read, and 1 to write"
    assert texts["client"].startswith("jobstore 0.")


class AllCommands(monitoring.CommandListener):
    """Lists all commands of a client."""

    def __init__(self):
        self.names = []

    def started(self, event):
        self.names.append(event.command_name.lower())

    def succeeded(self, event):
        pass

    failed = succeeded


READS = {"hello", "ping", "buildinfo", "connectionstatus", "getdefaultrwconcern", "getparameter"}
READS |= {"find", "aggregate", "count", "getmore", "endsessions"}


def test_doctor_sends_few_commands_which_only_read(healthy, server):
    listener = AllCommands()
    with MongoClient(server.uri, event_listeners=[listener]) as client:
        MongoDBJobStore(healthy.collection.database.name, client=client).doctor()
    assert {"connectionstatus", "getparameter", "count"} <= set(listener.names) <= READS
    assert len(listener.names) <= 20


def test_doctor_leaves_no_trace_in_an_empty_database(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client)
        finding = the(store, "jobs")
        assert finding.text.endswith(".jobs has 0 jobs")
        assert "whether database and collection are right" in finding.advice
        assert the(store, "format").text.startswith("no format yet")
    assert database.list_collection_names() == []


def test_missing_indexes_are_named_with_the_command_that_creates_them(healthy):
    healthy.add_job(job("a"))
    healthy.collection.drop_indexes()
    finding = the(healthy, "indexes")
    assert finding.level == "degraded"
    assert finding.text.startswith("no index on next_run_time and quarantine.since")
    command = 'db.getCollection("jobs").createIndex({"quarantine.since": 1}, {sparse: true})'
    assert command in finding.advice
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
    assert "jobstore quarantine" in finding.advice


def test_held_jobs_are_degraded_until_they_are_released(healthy):
    healthy.add_jobs([job("a"), job("b"), job("c", None)])
    held = {"next_run_time": 5.0, "op": "catch_up", "by": "x", "at": at(0)}
    query = {"_id": {"$in": ["a", "b"]}}
    healthy.collection.update_many(query, {"$set": {"held": held, "next_run_time": None}})
    finding = the(healthy, "held")
    assert finding.level == "degraded"
    assert finding.text.startswith("2 jobs or more held")
    healthy.release_held()
    assert the(healthy, "held").level == "well"


@pytest.mark.parametrize("key", ["read", "write"])
def test_newer_format_is_degraded_with_both_numbers(healthy, key):
    meta(healthy).update_one({"_id": "format"}, {"$set": {key: 7}})
    finding = the(healthy, "format")
    assert finding.level == "degraded"
    assert f"7 to {key}" in finding.text
    assert "knows format 1" in finding.text
    assert "a newer one" in finding.advice


def test_mark_that_is_missing_though_schedulers_share_is_degraded(bare):
    plant(bare.collection, mode="shared")
    finding = the(bare, "mark")
    assert finding.level == "degraded"
    assert "web-1:4711 shares" in finding.text
    assert "Restart one scheduler" in finding.advice


def test_mark_without_a_scheduler_that_shares_comes_with_advice(bare):
    meta(bare).insert_one({"_id": "sharing", "since": at(0)})
    finding = the(bare, "mark")
    assert finding.level == "well"
    assert "2020-01-01" in finding.text
    assert "end_sharing()" in finding.advice
    plant(bare.collection, mode="shared")
    assert the(bare, "mark")._replace(text="") == ("well", "mark", "", "")


def test_no_scheduler_is_down(bare):
    finding = the(bare, "others")
    assert (finding.level, finding.text) == ("down", "no scheduler fires, by their presence")
    plant(bare.collection, lives=False)
    plant(bare.collection, state="idle")
    assert the(bare, "others").level == "down"


def test_schedulers_that_fire_without_sharing_are_named(healthy):
    plant(healthy.collection, "web-2")
    finding = the(healthy, "others")
    assert finding.level == "degraded"
    assert "web-1:4711, web-2:4711" in finding.text
    assert "shared=True" in finding.advice


def test_schedulers_that_share_or_stand_by_are_well(bare):
    plant(bare.collection, "web-1", mode="shared")
    plant(bare.collection, "web-2", mode="shared")
    plant(bare.collection, "web-3", state="waiting")
    finding = the(bare, "others")
    assert (finding.level, finding.text) == ("well", "2 schedulers may fire")


def test_many_schedulers_are_not_all_named(bare):
    for number in range(8):
        plant(bare.collection, f"web-{number}")
    assert "web-4:4711 and 3 more fire" in the(bare, "others").text


def test_versions_that_differ_in_their_first_two_numbers_are_degraded(healthy):
    plant(healthy.collection, "web-2", versions={"jobstore": "0.1.9", "python": "3.12.0"})
    (finding,) = found(healthy, "versions")
    assert finding.level == "degraded"
    assert "differ in python: 3.11 (web-1:4711), 3.12 (web-2:4711)" in finding.text
    assert finding.advice.startswith("Finish the deployment")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.0, "4.0 s ahead of the server's: its jobs run early"), (-90.0, "90.0 s behind")],
)
def test_scheduler_with_a_wrong_clock_is_named(bare, seconds, text):
    seen = datetime.now(timezone.utc)
    plant(bare.collection, seen=seen, clock=seen + timedelta(seconds=seconds))
    plant(bare.collection, "web-2", seen=seen, clock=seen + timedelta(seconds=0.5))
    finding = the(bare, "clocks")
    assert finding.level == "degraded"
    assert "the clock of web-1:4711" in finding.text
    assert text in finding.text
    assert "NTP" in finding.advice


def test_clocks_in_step_are_well(healthy):
    assert the(healthy, "clocks").text.startswith("at most 0.00 s")


def test_scheduler_with_a_small_pool_is_named_with_the_size_that_it_needs(bare):
    plant(bare.collection, status={"needed_pool": 12})
    finding = the(bare, "pool")
    assert finding.level == "degraded"
    assert finding.text.startswith("the client of web-1:4711 has too few")
    assert "maxPoolSize=12" in finding.advice


def test_own_small_pool_is_a_finding_while_a_watcher_uses_it(server, database):
    with MongoClient(server.uri, maxPoolSize=SMALL) as client:
        store = MongoDBJobStore(database.name, client=client)
        scheduler = BackgroundScheduler(jobstores={"default": store})
        scheduler.start()
        try:
            finding = found(store, "pool")[0]
        finally:
            scheduler.shutdown()
    assert finding.level == "degraded"
    assert finding.text.startswith("this client has too few")
    assert "maxPoolSize=3" in finding.advice


def test_running_scheduler_is_well_and_a_second_one_is_found(server, database):
    stores = [MongoDBJobStore(database.name, host=server.uri) for _ in range(2)]
    schedulers = [BackgroundScheduler(jobstores={"default": store}) for store in stores]
    try:
        schedulers[0].start()
        assert [each for each in stores[0].doctor() if each.level != "well"] == []
        schedulers[1].start()
        assert the(stores[0], "others").level == "degraded"
    finally:
        for scheduler in schedulers:
            if scheduler.running:
                scheduler.shutdown()


def test_hot_standby_is_named_and_well(server, database):
    stores = [MongoDBJobStore(database.name, host=server.uri, others="wait") for _ in range(2)]
    schedulers = [BackgroundScheduler(jobstores={"default": store}) for store in stores]
    try:
        for scheduler in schedulers:
            scheduler.start()
        until(lambda: the(stores[0], "others").text == "1 scheduler may fire")
        assert [each for each in stores[0].doctor() if each.level != "well"] == []
        text = the(stores[0], "schedulers").text
        assert text.count("firing") == text.count("waiting") == 1
    finally:
        for scheduler in schedulers:
            if scheduler.running:
                scheduler.shutdown()


NONSENSE = ["x" * 5000, -1, float("nan"), True, None, [], {"a": 1}, [{"a": 1}], at(0), b"\xff"]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
def test_nonsense_in_the_documents_is_no_error(healthy, value):
    """Anybody may write these documents."""
    names = ["mode", "others", "state", "versions", "executors", "started", "seen", "clock"]
    for name in [*names, "counters", "status"]:
        plant(healthy.collection, name, **{name: value})
    plant(healthy.collection, versions={"jobstore": value}, status={"needed_pool": value})
    meta(healthy).insert_one({"_id": "scheduler:"})
    meta(healthy).insert_one({"_id": "sharing", "since": value})
    meta(healthy).replace_one({"_id": "format"}, {"read": value, "write": value})
    mark = {"quarantine": {"since": value, "reason": value}, "next_run_time": None}
    healthy.collection.insert_one(mark)
    findings = healthy.doctor()
    assert "connection" not in {each.name for each in findings}
    assert not [each for each in findings if each.text.startswith("can't tell")]
    assert all(isinstance(text, str) for finding in findings for text in finding)


def test_long_texts_in_the_documents_are_cut(healthy):
    mark = {"since": at(0), "reason": "x" * 100_000}
    healthy.collection.insert_one({"quarantine": mark, "next_run_time": None})
    plant(healthy.collection, "h" * 10_000, mode="m" * 10_000, versions={"jobstore": "9" * 10_000})
    meta(healthy).insert_one({"_id": "sharing", "since": "s" * 10_000})
    assert max(len(each.text) for each in healthy.doctor()) <= 1001

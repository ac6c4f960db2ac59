"""Commands fail between store and server: no run is lost, and the scheduler goes on."""

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.proxy import Proxy

EXPECTED = {name: at(YEARS + i).timestamp() for i, name in enumerate("abc")}
CODES = {"not primary": 10107, "shutting down": 91, "interrupted": 11602, "out of time": 50}


class Cycles:
    """A scheduler with five due jobs, run by hand: a, b and c repeat, x and y end.

    Its client goes through a proxy, and has an application name that fail points select.
    """

    def __init__(self, server, database):
        self.admin = MongoClient(server.uri)
        self.proxy = Proxy(server.nodes[0].port)
        self.client = MongoClient(f"{self.proxy.uri}&appName=faulty&heartbeatFrequencyMS=500")
        self.store = MongoDBJobStore(database.name, client=self.client)
        self.store.add_jobs([job(name, i) for i, name in enumerate("abc")])
        self.store.add_jobs([job(name, 5, every=None) for name in "xy"])
        self.scheduler = by_hand(self.store, self.in_cycle)
        self.arm = None

    def in_cycle(self, job):
        if self.arm and job.id == "a":
            self.arm()
            self.arm = None

    def close(self):
        self.stop_failing()
        self.proxy.close()
        self.client.close()
        self.admin.close()

    def fail(self, moment, command, how, times=1):
        """Make a command fail from now on ("next"), or from the middle of the next cycle ("in")."""
        if how in CODES:
            data = {"failCommands": [command], "appName": "faulty", "errorCode": CODES[how]}
            arm = lambda: self.fail_point(data, times)  # noqa: E731
        elif how == "write concern":
            error = {"code": 64, "errmsg": "waiting for replication timed out"}
            data = {"failCommands": [command], "appName": "faulty", "writeConcernError": error}
            arm = lambda: self.fail_point(data, times)  # noqa: E731
        else:
            arm = lambda: self.proxy.fail(command, how, times)  # noqa: E731
        if moment == "in":
            self.arm = arm
        else:
            arm()

    def fail_point(self, data, times):
        self.admin.admin.command(
            {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
        )

    def stop_failing(self):
        self.admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        self.proxy.release()

    def run(self, count=1):
        for _ in range(count):
            wait = self.scheduler._process_jobs()
        return wait

    def submitted(self):
        return [job_id for job_id, _ in self.scheduler.executor.submitted]

    def documents(self):
        collection = self.admin[self.store.collection.database.name]["jobs"]
        return {each["_id"]: each["next_run_time"] for each in collection.find()}

    def states_agree(self):
        """Check that each pickled run time equals that of its document."""
        for each in self.store.get_all_jobs():
            assert each.next_run_time.timestamp() == self.documents()[each.id]


@pytest.fixture
def cycles(server, database, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    monkeypatch.setattr("jobstore.mongodb.readers.START_SECONDS", 1.0)
    monkeypatch.setattr(connection, "START_SECONDS", 1.0)
    cycles = Cycles(server, database)
    yield cycles
    cycles.close()


COMMANDS = [("next", "find"), ("in", "update"), ("in", "delete"), ("in", "find")]
HOWS = ["close", "lose", "hang", *CODES]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("moment", "command"), COMMANDS)
def test_failed_command_skips_no_run_and_repeats_none(cycles, moment, command, how):
    cycles.fail(moment, command, how)
    cycles.run(2)
    cycles.stop_failing()
    cycles.run()
    assert cycles.submitted() == [*"abcxy"]
    assert cycles.documents() == EXPECTED
    cycles.states_agree()


@pytest.mark.parametrize("command", ["update", "delete"])
def test_write_concern_error_is_not_a_failed_write(cycles, command):
    cycles.fail("in", command, "write concern")
    cycles.run(2)
    assert cycles.submitted() == [*"abcxy"]
    assert cycles.documents() == EXPECTED


@pytest.mark.parametrize("how", ["close", *CODES])
@pytest.mark.parametrize("command", ["update", "delete"])
def test_failing_writes_are_kept_and_no_job_runs_twice(cycles, command, how):
    cycles.fail("next", command, how, times=100)
    assert 5 < cycles.run() <= 10  # the scheduler's retry interval
    cycles.run(2)  # get_due_jobs flushes first and raises; the scheduler handles that
    assert len(cycles.documents()) == 5
    cycles.stop_failing()
    cycles.run()
    assert cycles.submitted() == [*"abcxy"]
    assert cycles.documents() == EXPECTED
    cycles.states_agree()


@pytest.mark.parametrize("how", ["lose", "hang"])
@pytest.mark.parametrize("command", ["update", "delete"])
def test_writes_whose_answer_is_lost_are_found_done(cycles, command, how):
    cycles.fail("next", command, how, times=1)
    assert cycles.run() > 10  # nothing has to be retried
    assert cycles.documents() == EXPECTED
    assert cycles.store._write_behind.writes == {}


@pytest.mark.parametrize("how", ["lose", "hang"])
@pytest.mark.parametrize("command", ["update", "delete"])
def test_unanswered_writes_are_kept_even_if_a_read_shows_them(cycles, command, how):
    """The majority may not have the writes yet, so a failover could lose them."""
    cycles.fail("next", command, how, times=2)
    assert 5 < cycles.run() <= 10
    assert cycles.documents().items() >= EXPECTED.items()
    assert cycles.store._write_behind.has_pending
    cycles.run()
    assert not cycles.store._write_behind.has_pending
    assert cycles.submitted() == [*"abcxy"]
    assert cycles.documents() == EXPECTED


def test_writes_are_kept_while_they_cannot_be_read_back(cycles):
    def arm():
        cycles.proxy.fail("update", "lose", 100)
        cycles.proxy.fail("find", "close", 100)

    cycles.arm = arm
    assert 5 < cycles.run() <= 10
    assert set(cycles.store._write_behind.writes) == {*"abcxy"}
    cycles.run()
    cycles.stop_failing()
    cycles.run()
    assert cycles.submitted() == [*"abcxy"]
    assert cycles.documents() == EXPECTED


def test_failed_flush_is_not_retried_in_the_same_cycle(server, database, monkeypatch):
    """After a failed flush, the rest of the cycle does not wait for the server."""
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client)
        store.add_jobs([job(f"{i:02}", i) for i in range(30)])
        flushes = []

        def flush(writes, changed, sent_before, logger):
            flushes.append(len(writes))
            raise PyMongoError("away")

        scheduler = by_hand(store)
        real_flush, store._write_behind._flush = store._write_behind._flush, flush
        monkeypatch.setattr(store._write_behind, "_limit", 10)
        assert 5 < scheduler._process_jobs() <= 10
        assert flushes == [10]
        scheduler._process_jobs()
        assert flushes == [10, 10], "the failed writes are settled before newer ones"
        store._write_behind._flush = real_flush
        scheduler._process_jobs()
        assert len(scheduler.executor.submitted) == 30
        assert min(run_times(store).values()) == at(YEARS).timestamp()


@pytest.mark.parametrize("call", ["lookup_job", "remove_job", "add_job", "get_all_jobs", "len"])
def test_calls_outside_a_cycle_raise_errors_in_time(cycles, call):
    calls = {
        "lookup_job": lambda: cycles.store.lookup_job("a"),
        "remove_job": lambda: cycles.store.remove_job("a"),
        "add_job": lambda: cycles.store.add_job(job("new")),
        "get_all_jobs": cycles.store.get_all_jobs,
        "len": lambda: len(cycles.store),
    }
    for command in ("find", "delete", "insert", "aggregate"):
        cycles.proxy.fail(command, "hang", 100)
    with pytest.raises(PyMongoError):
        calls[call]()


def test_shutdown_does_not_raise_while_the_server_is_away(cycles, caplog):
    cycles.fail("in", "update", "close", times=100)
    cycles.run()
    cycles.store.shutdown()
    assert "5 jobs are not written and run again: a, b, c, x, y\n" in caplog.text
    cycles.stop_failing()
    by_hand(cycles.store)._process_jobs()
    assert cycles.documents() == EXPECTED


def test_start_raises_in_time_while_the_server_is_away(monkeypatch, database):
    monkeypatch.setattr("jobstore.mongodb.server.START_SECONDS", 0.2)
    patient = {"serverSelectionTimeoutMS": 600_000}
    with Proxy(1) as nobody, MongoClient(nobody.uri, **patient) as client:
        store = MongoDBJobStore(database.name, client=client)
        with pytest.raises(PyMongoError):
            store.start(None, "default")


def test_users_own_timeout_stays_in_force(server, database):
    with MongoClient(server.uri, timeoutMS=60_000) as client:
        store = MongoDBJobStore(database.name, client=client)
        with store._connection.limit(0.0):  # a limit of 0 s would fail if it replaced the user's
            assert len(store) == 0

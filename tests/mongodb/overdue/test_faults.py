"""Catching up with errors of the database, with slow lines, and with many jobs."""

import logging
import re

import pytest
from pymongo.errors import OperationFailure, PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.overdue import catch_up
from support.damaged_documents import damaged
from support.jobs import YEARS, at, job, run_times
from support.overdue import ACTING, summary_lines
from support.proxy import Proxy
from support.slow_line import lines


@pytest.fixture(autouse=True)
def _all_levels(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture
def proxy(server, monkeypatch):
    for module in (connection, catch_up):
        monkeypatch.setattr(module, "START_SECONDS", 1.0)
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    with Proxy(server.nodes[0].port) as proxy:
        yield proxy


def is_caught_up(policy, store):
    times = run_times(store)
    if policy == "skip":
        return times == {f"{i}": at(YEARS + i).timestamp() for i in range(5)}
    if policy == "hold":
        return times == dict.fromkeys("0123456789")
    return len(times) == 10 and min(times.values()) > at(YEARS / 2).timestamp()


def ten_jobs():
    return [job(f"{i}", i, every=None if i >= 5 else YEARS) for i in range(10)]


FAULTS = [
    ("find", "lose"),
    ("find", "hang"),
    ("aggregate", "close"),
    ("update", "close"),
    ("update", "lose"),
    ("update", "hang"),
    ("delete", "lose"),
]


@pytest.mark.parametrize("policy", ACTING)
@pytest.mark.parametrize(("command", "how"), FAULTS)
def test_after_any_fault_the_next_start_goes_on(
    proxy, start_on, database, policy, command, how, monkeypatch
):
    MongoDBJobStore(database.name, client=database.client).add_jobs(ten_jobs())
    run = catch_up.CatchUp.run

    def run_with_fault(self):
        proxy.fail(command, how, times=4)
        try:
            run(self)
        finally:
            proxy.release()

    monkeypatch.setattr(catch_up.CatchUp, "run", run_with_fault)
    for _ in range(3):
        try:
            _, store = start_on(policy, uri=proxy.uri)
            break
        except PyMongoError:
            times_after = run_times_of(database)
            assert set(times_after) >= {*"01234"}
            monkeypatch.setattr(catch_up.CatchUp, "run", run)
    assert is_caught_up(policy, store)
    for each in store.get_all_jobs():
        assert each.next_run_time is None or each.next_run_time > at(YEARS / 2)


def run_times_of(database):
    return {each["_id"]: each["next_run_time"] for each in database["jobs"].find()}


@pytest.mark.parametrize("policy", ACTING)
def test_one_lost_answer_fails_no_start(proxy, start_on, database, policy, monkeypatch, caplog):
    MongoDBJobStore(database.name, client=database.client).add_jobs(ten_jobs())
    run = catch_up.CatchUp.run

    def run_with_fault(self):
        proxy.fail("update", "lose")
        run(self)

    monkeypatch.setattr(catch_up.CatchUp, "run", run_with_fault)
    _, store = start_on(policy, uri=proxy.uri)
    assert proxy.fault_count == 1
    assert is_caught_up(policy, store)
    moved = "5 moved on, 5 removed" if policy == "skip" else "10 "
    assert moved in summary_lines(caplog)[0]


CODES = {"not primary": 10107, "shutting down": 91, "interrupted": 11602, "out of time": 50}


@pytest.mark.parametrize("policy", ACTING)
@pytest.mark.parametrize("code", [*CODES, "write concern"])
def test_one_error_of_the_server_fails_no_start(
    start_on, server, database, policy, code, monkeypatch, caplog
):
    MongoDBJobStore(database.name, client=database.client).add_jobs(ten_jobs())
    run = catch_up.CatchUp.run
    before, data = [], {"failCommands": ["update"], "appName": "catching"}
    if code in CODES:
        data["errorCode"] = CODES[code]
    else:
        data["writeConcernError"] = {"code": 64, "errmsg": "waiting for replication timed out"}

    def run_with_error(self):
        fail = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
        before.append(database.client.admin.command(fail)["count"])
        run(self)

    monkeypatch.setattr(catch_up.CatchUp, "run", run_with_error)
    _, store = start_on(policy, uri=f"{server.uri}&appName=catching&heartbeatFrequencyMS=500")
    failing = database.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert failing["count"] == before[0] + 1
    assert is_caught_up(policy, store)
    moved = "5 moved on, 5 removed" if policy == "skip" else "10 "
    assert moved in summary_lines(caplog)[0]


@pytest.mark.parametrize("policy", ACTING)
def test_start_that_fails_half_way_says_so_and_the_next_one_goes_on(
    start_on, database, policy, monkeypatch, caplog
):
    monkeypatch.setattr(catch_up, "MAX_PART_BYTES", 1)  # one job at a time
    send, sent = catch_up.send, []

    def failing(connection, codec, writes, *args):
        sent.extend(writes)
        if len(sent) > 4:
            raise OperationFailure("no more")
        return send(connection, codec, writes, *args)

    monkeypatch.setattr(catch_up, "send", failing)
    with pytest.raises(OperationFailure):
        start_on(policy, jobs=ten_jobs())
    assert len([each for each in run_times_of(database).values() if each == at(4).timestamp()]) == 1
    (line,) = summary_lines(caplog)
    assert re.search(": 4 .*, 0 removed, the others stay overdue after an error", line)
    monkeypatch.setattr(catch_up, "send", send)
    _, store = start_on(policy)
    assert is_caught_up(policy, store)


@pytest.mark.parametrize("policy", ACTING)
def test_large_jobs_get_through_a_slow_line(server, database, policy, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    adder = MongoDBJobStore(database.name, client=database.client)
    adder.add_jobs([job(f"{i}", i, args=(b"x" * 20_000,)) for i in range(30)])
    with lines(server, database) as line:
        slow = line(catch_up=policy, watch=False)
        slow.proxy.rate = 400_000.0
        slow.store.start(None, "default")
        slow.proxy.rate = 0.0
        assert not {at(i).timestamp() for i in range(30)} & set(run_times(slow.store).values())


# Many jobs


@pytest.mark.parametrize("policy", ACTING)
def test_twenty_thousand_jobs_take_few_commands_and_one_log_line(
    start_on, unhurried, policy, caplog, monkeypatch
):
    parts = []
    apply = catch_up._Pass._apply
    monkeypatch.setattr(
        catch_up._Pass, "_apply", lambda self, part: parts.append(len(part)) or apply(self, part)
    )
    jobs = [
        job(f"{i:05}", i / 100, every=None if i % 10 == 0 else YEARS, misfire_grace_time=1)
        for i in range(20_000)
    ]
    caplog.clear()
    _, store = start_on(policy, jobs=jobs, batch_size=1000)
    assert max(parts) <= 1000  # memory is bounded
    sent = store.commands.names
    assert len(sent) < 20 * 4 + 20
    assert len(caplog.messages) <= 2
    word, number = {"skip": ("moved on", 18_000), "hold": ("held", 20_000)}.get(
        policy, ("spread", 20_000)
    )
    assert f"{number:,} {word}" in summary_lines(caplog)[0]
    assert summary_lines(caplog)[0].endswith("0 left as they are")
    assert store.collection.count_documents({"next_run_time": {"$lt": at(201).timestamp()}}) == 0


def test_thousands_of_jobs_with_the_same_run_time_are_all_held(start_on, database):
    damaged_ones = [
        damaged(f"damaged {i}", {"job_state": None, "_id": f"damaged {i}"}) for i in range(1_500)
    ]
    database["jobs"].insert_many(damaged_ones)
    _, store = start_on("hold", jobs=[job(f"{i}", 0) for i in range(2_500)])
    assert store.collection.count_documents({"held.op": "catch_up"}) == 2_500
    assert store.collection.count_documents({"next_run_time": at(0).timestamp()}) == 1_500

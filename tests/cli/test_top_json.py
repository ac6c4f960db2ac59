"""`top` as lines of JSON, and the load that it shows."""

import json
import signal
import subprocess
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.cli.failures import PIPE_CLOSED
from jobstore.mongodb.health.load import load
from support.jobs import job
from support.presences import NONSENSE, plant_nonsense
from support.processes import PATIENCE
from support.proxy import Proxy

from .conftest import PROGRAM, url_of

HOSTILE = "\x1b]0;title\x07\x1b[2J[red]\u202e\r\n\x9b31m"


@contextmanager
def in_json(target):
    command = [*PROGRAM, "top", target, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_json_has_the_figures_of_all_and_of_each_scheduler(target, busy):
    with in_json(target) as process:
        found = json.loads(process.stdout.readline())
    assert abs(datetime.fromisoformat(found["at"]) - datetime.now(timezone.utc)) < timedelta(days=1)
    assert (found["overdue"], found["quarantined"], found["leased"]) == (29, 1, 0)
    assert found["oldest_overdue"] > 86_400
    assert found["error"] is None
    assert found["jobs_per_second"] is found["lateness_p50"] is found["lateness_p99"] is None
    schedulers = {each["host"]: each for each in found["schedulers"]}
    assert [each["alive"] for each in schedulers.values()] == [True, True, False]
    assert schedulers["web-0.example.com"]["counters"]["fired"] == 1234


def test_nonsense_in_the_presences_is_valid_json(target, store):
    plant_nonsense(store.collection)
    with in_json(target) as process:
        found = json.loads(process.stdout.readline())
    assert len(found["schedulers"]) == 9 * len(NONSENSE)


def test_json_ends_when_its_reader_closes_it(target, store):
    with in_json(target) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == PIPE_CLOSED
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_json(target, store, number, code):
    with in_json(target) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stderr.read() == b""


@pytest.mark.slow
def test_json_tells_an_outage_and_goes_on(server, database, store):
    with Proxy(server.nodes[0].port) as proxy, in_json(url_of(proxy.uri, database.name)) as process:
        assert json.loads(process.stdout.readline())["error"] is None
        proxy.hold()
        assert any(json.loads(process.stdout.readline())["error"] for _ in range(3))
        proxy.release()
        assert any(not json.loads(process.stdout.readline())["error"] for _ in range(10))


@pytest.mark.slow
def test_real_schedulers_that_share_have_rates(server, database, target):
    stores = [MongoDBJobStore(database.name, host=server.uri, shared=True) for _ in range(2)]
    schedulers = [BackgroundScheduler(jobstores={"default": store}) for store in stores]
    for scheduler in schedulers:
        scheduler.start()
    try:
        for number in range(20):
            options = {"seconds": 0.2, "misfire_grace_time": None, "max_instances": 99}
            schedulers[0].add_job(print, "interval", id=str(number), **options)
        with in_json(target) as process:
            for line in process.stdout:
                found = json.loads(line)
                if found["jobs_per_second"]:
                    break
    finally:
        for scheduler in schedulers:
            scheduler.shutdown()
    assert 0 < found["jobs_per_second"] <= 400
    assert 0 < found["lateness_p50"] <= found["lateness_p99"]
    assert [each["state"] for each in found["schedulers"]] == ["firing", "firing"]


# The load


def test_leased_jobs_are_counted_while_a_scheduler_shares(store, server, database):
    sharer = MongoDBJobStore(database.name, host=server.uri, shared=True, batch_size=10)
    sharer.start(None, "default")
    sharer.add_jobs([job(f"job{n}", n) for n in range(30)])
    claimed = sharer.get_due_jobs(datetime.now(timezone.utc))
    assert load(store).leased == len(claimed) > 0
    nonsense = {"acquired_until": "z", "acquired_by": 5}
    store.collection.update_one({"_id": "job29"}, {"$set": nonsense})
    assert load(store).leased == len(claimed)
    sharer.shutdown()
    assert load(store).leased == 0


def test_load_of_no_jobs_is_empty(store):
    assert load(store) == ([], 0, None, 0, 0)

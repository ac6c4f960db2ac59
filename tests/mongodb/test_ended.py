"""Jobs stay due when the main thread has ended, as thread pools then accept no more jobs."""

import subprocess

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors
from support.jobs import at, job, names
from support.manual_scheduler import by_hand
from support.programs import command, environment

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.mark.parametrize("mode", MODES)
def test_due_job_stays_due_when_no_executor_accepts_it(server, database, stock, mode):
    process = subprocess.Popen(
        command("outlive_main_thread", server.uri, database.name, mode),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ended\n"
        stock.add_job(job("once", every=None))  # wakes the scheduler
        assert process.stdout.readline() == "refused\n"
        process.stdin.close()
    assert names(stock) == ["once"]


def test_executor_without_a_thread_pool_still_accepts_jobs(server, database, monkeypatch):
    monkeypatch.setattr(executors.pools, "_shutdown", True)
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = by_hand(store)
    store.add_job(job("a"))
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("a", [at(0)])]
    scheduler.shutdown()

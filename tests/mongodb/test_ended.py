"""A scheduler whose thread pool takes no jobs any more: its main thread has ended."""

import subprocess

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors
from support.jobs import at, job, names
from support.manual_scheduler import by_hand
from support.programs import command, environment

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_due_stays_due_where_no_executor_takes_it(server, database, stock, mode):
    process = subprocess.Popen(
        command("outlive_main_thread", server.uri, database.name, mode),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ended\n"
        stock.add_job(job("once", every=None))  # wakes it
        assert process.stdout.readline() == "refused\n"
        process.stdin.close()
    assert names(stock) == ["once"]


def test_executors_without_a_thread_pool_go_on(server, database, monkeypatch):
    monkeypatch.setattr(executors.pools, "_shutdown", True)
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = by_hand(store)
    store.add_job(job("a"))
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("a", [at(0)])]
    scheduler.shutdown()

"""A scheduler whose thread pool takes no jobs any more: its main thread has ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mongo import at, by_hand, job, names

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_due_stays_due_where_no_executor_takes_it(server, database, stock, mode):
    child = Path(__file__).with_name("ended_child.py")
    process = subprocess.Popen(
        [sys.executable, child, server.uri, database.name, mode],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
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

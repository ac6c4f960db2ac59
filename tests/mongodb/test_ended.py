"""Jobs stay due when the main thread has ended, as pools then accept no more jobs."""

import subprocess

import pytest
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors
from support.jobs import at, job, names
from support.manual_scheduler import by_hand
from support.programs import command, environment

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("mode", MODES)
def test_due_job_stays_due_when_no_executor_accepts_it(server, database, stock, mode, executor):
    process = subprocess.Popen(
        command("outlive_main_thread", server.uri, database.name, mode, executor),
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


@pytest.mark.parametrize("in_flight", ["auto", 2, None])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("pool", "module", "flag"),
    [
        (ThreadPoolExecutor, executors.threads, "_shutdown"),
        (ProcessPoolExecutor, executors.processes, "_global_shutdown"),
    ],
)
def test_executors_without_a_closed_pool_still_accept_jobs(
    server, database, stock, monkeypatch, caplog, pool, module, flag, mode, in_flight
):
    store = MongoDBJobStore(database.name, host=server.uri, in_flight=in_flight, **MODES[mode])
    scheduler = by_hand(store)
    scheduler.add_executor(pool(1), "pool")
    store.add_jobs(job(f"pool-{n}", n, executor="pool", every=None) for n in range(30))
    store.add_jobs(job(f"other-{n}", 50 + n, every=None) for n in range(3))
    monkeypatch.setattr(module, flag, True)
    for _ in range(20):
        if (wait := scheduler._process_jobs()) is None or wait > 0:
            break
    assert wait is None or wait > 0, "it does not ask again and again"
    assert [job_id for job_id, _ in scheduler.executor.submitted] == [
        f"other-{n}" for n in range(3)
    ]
    scheduler.shutdown()
    assert names(stock) == sorted(f"pool-{n}" for n in range(30))
    assert "submitting" not in caplog.text
    is_leased = {"$expr": {"$gt": ["$acquired_until", "$$NOW"]}}
    assert stock.collection.count_documents(is_leased) == 0


def test_executor_without_a_thread_pool_still_accepts_jobs(server, database, monkeypatch):
    monkeypatch.setattr(executors.threads, "_shutdown", True)
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = by_hand(store)
    store.add_job(job("a"))
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("a", [at(0)])]
    scheduler.shutdown()

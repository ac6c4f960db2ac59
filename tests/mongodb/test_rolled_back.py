"""With w=1, a failover undoes writes that only the old primary has."""

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.testing import mongod
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.shared_stores import ids
from support.waiting import until

pytestmark = pytest.mark.slow


class Nodes:
    """Three nodes, of which the secondaries can stop to copy the primary's writes."""

    def __init__(self, server):
        self.uri = server.uri
        self._server = server
        with MongoClient(server.uri) as client:
            primary = until(lambda: client.primary)
        (self._primary,) = [each for each in server.nodes if each.port == primary[1]]
        self._secondaries = [each for each in server.nodes if each is not self._primary]

    def _copy(self, mode):
        for node in self._secondaries:
            with MongoClient(node.address, directConnection=True) as client:
                client.admin.command("configureFailPoint", "stopReplProducer", mode=mode)

    def stop_copying(self):
        self._copy("alwaysOn")

    def fail_over(self):
        self._primary.kill()
        self._copy("off")
        self._server.wait()


@pytest.fixture
def nodes():
    with mongod(nodes=3, options=("--setParameter", "enableTestCommands=1")) as server:
        yield Nodes(server)


def test_failover_with_w1_repeats_the_runs_of_a_lost_flush(nodes, database):
    adding = MongoDBJobStore(database.name, host=nodes.uri)
    adding.add_jobs([job("a"), job("b", 1)])
    store = MongoDBJobStore(database.name, host=nodes.uri, w=1, watch=False)
    scheduler = by_hand(store)
    submitted = scheduler.executor.submitted
    nodes.stop_copying()
    scheduler._process_jobs()
    assert ids_of(submitted) == ["a", "b"]
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": at(1 + YEARS).timestamp()}
    nodes.fail_over()
    until(lambda: scheduler._process_jobs() > 10 and len(submitted) > 2)
    assert ids_of(submitted) == ["a", "b"] * 2
    assert run_times(adding) == {"a": at(YEARS).timestamp(), "b": at(1 + YEARS).timestamp()}
    scheduler.shutdown()
    adding.shutdown()


def ids_of(submitted):
    return [job_id for job_id, _ in submitted]


def test_failover_with_w1_undoes_a_claim_so_that_two_schedulers_fire_the_job(nodes, make):
    first, second = (make(f"{nodes.uri}&w=1", lease=600) for _ in range(2))
    adding = make(nodes.uri)
    adding.add_job(job("a"))
    nodes.stop_copying()
    assert ids(first.get_due_jobs(at(10))) == ["a"]
    assert second.get_due_jobs(at(10)) == []
    nodes.fail_over()

    def fired():
        try:
            return ids(second.get_due_jobs(at(10)))
        except PyMongoError:
            return None

    assert until(fired) == ["a"]


def test_job_whose_claim_does_not_reach_the_majority_is_not_handed_out(nodes, make, monkeypatch):
    """So no failover can undo the claim of a job that was fired."""
    store = make(nodes.uri)
    store.add_job(job("a"))
    nodes.stop_copying()
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.5)
    with pytest.raises(PyMongoError):
        store.get_due_jobs(at(10))
    nodes.fail_over()

"""The stores of one scheduler end together."""

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore, MongoDBJobStore
from support.jobs import job
from support.waiting import until


class Between(MemoryJobStore):
    """A store that is shut down between two others, and waits for the end of the second watcher."""

    def shutdown(self):
        until(lambda: not self.second_watcher._thread.is_alive())
        super().shutdown()


@pytest.mark.parametrize("mirror", [False, True])
def test_watchers_of_all_stores_end_together(server, database, mirror):
    """The shutdown of the first store ends all watchers."""
    stores = [MongoDBJobStore(database.name, name, host=server.uri, mirror=mirror) for name in "ab"]
    between = Between()
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, store in zip("abc", [stores[0], between, stores[1]], strict=True):
        scheduler.add_jobstore(store, name)
    scheduler.start()
    between.second_watcher = stores[1]._lifecycle.watcher
    scheduler.shutdown()
    assert stores[1]._lifecycle.watcher is None


def test_mirror_whose_watcher_has_ended_is_not_read(server, database, stock):
    """Other processes may change jobs between the end of its watcher and its store's shutdown."""
    first = MongoDBJobStore(database.name, "first", host=server.uri)
    second = MongoDBJobStore(database.name, host=server.uri, mirror=True)

    class ReadsAtShutdown(MemoryJobStore):
        def shutdown(self):
            stock.add_job(job("a"))
            read_ids.append(second.lookup_job("a").id)

    read_ids = []
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, store in zip("abc", [first, ReadsAtShutdown(), second], strict=True):
        scheduler.add_jobstore(store, name)
    scheduler.start()
    until(lambda: second._reader.is_live)
    scheduler.shutdown()
    assert read_ids == ["a"]


def test_store_removed_from_a_running_scheduler_ends_alone(server, database, stock):
    scheduler = BackgroundScheduler(timezone="UTC")
    stores = [MongoDBJobStore(database.name, name, host=server.uri) for name in ("jobs", "other")]
    for store in stores:
        scheduler.add_jobstore(store, store.collection.name)
    scheduler.start()
    scheduler.remove_jobstore("other")
    assert stores[1]._lifecycle.watcher is None
    until(lambda: stores[0]._lifecycle.watcher.sees_all_changes)
    scheduler.shutdown()

"""Many stores in one scheduler: they end together."""

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore, MongoDBJobStore
from support.jobs import job
from support.waiting import until


class Between(MemoryJobStore):
    """Is shut down between two others, and looks at the second one then."""

    def shutdown(self):
        until(lambda: not self.second._thread.is_alive())
        super().shutdown()


@pytest.mark.parametrize("mirror", [False, True])
def test_the_watchers_of_all_stores_end_together(server, database, mirror):
    """The first store that is shut down lets them all end."""
    stores = [MongoDBJobStore(database.name, name, host=server.uri, mirror=mirror) for name in "ab"]
    between = Between()
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, store in zip("abc", [stores[0], between, stores[1]], strict=True):
        scheduler.add_jobstore(store, name)
    scheduler.start()
    between.second = stores[1]._lifecycle.watcher
    scheduler.shutdown()
    assert stores[1]._lifecycle.watcher is None


def test_a_mirror_whose_watcher_ends_early_is_not_asked(server, database, stock):
    """Until its store is shut down as well: meanwhile others may change jobs."""
    first = MongoDBJobStore(database.name, "first", host=server.uri)
    second = MongoDBJobStore(database.name, host=server.uri, mirror=True)

    class Asks(MemoryJobStore):
        def shutdown(self):
            stock.add_job(job("a"))
            asked.append(second.lookup_job("a").id)

    asked = []
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, store in zip("abc", [first, Asks(), second], strict=True):
        scheduler.add_jobstore(store, name)
    scheduler.start()
    until(lambda: second._reader.is_live)
    scheduler.shutdown()
    assert asked == ["a"]


def test_a_store_that_is_taken_from_a_running_scheduler_ends_alone(server, database, stock):
    scheduler = BackgroundScheduler(timezone="UTC")
    stores = [MongoDBJobStore(database.name, name, host=server.uri) for name in ("jobs", "other")]
    for store in stores:
        scheduler.add_jobstore(store, store.collection.name)
    scheduler.start()
    scheduler.remove_jobstore("other")
    assert stores[1]._lifecycle.watcher is None
    until(lambda: stores[0]._lifecycle.watcher.sees_all_changes)
    scheduler.shutdown()

"""The MongoDB store outside its cycle: construction, connection, and use with the stock store."""

import pickle
import subprocess
import sys
from datetime import timedelta, timezone

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.triggers.cron import CronTrigger
from pymongo import MongoClient, WriteConcern

import jobstore
from jobstore import JobLookupError, MongoDBJobStore
from support.every_store import MODES
from support.jobs import START, at, job, names, run_times
from support.manual_scheduler import by_hand

A_CLIENT = MongoClient(connect=False)


@pytest.fixture(scope="module", autouse=True)
def close_a_client():
    yield
    A_CLIENT.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"database": ""}, 'The "database" parameter must not be empty'),
        ({"collection": ""}, 'The "collection" parameter must not be empty'),
        ({"batch_size": 0}, "batch_size is 0: it must be a whole number from 1 on"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"unreadable": "delete"}, "unreadable is 'delete': it must be"),
        ({"w": 0}, "w=0 would lose jobs"),
        ({"client": MongoClient(connect=False, w=0)}, "w=0 would lose jobs"),
        ({"host": "mongodb://localhost/?w=0"}, "w=0 would lose jobs"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MongoDBJobStore(**arguments)
    if "client" in arguments:
        arguments["client"].close()


@pytest.mark.parametrize("client", [A_CLIENT, "mongodb.test_store:A_CLIENT"])
def test_client_can_be_given_as_an_object_or_by_reference(client):
    store = MongoDBJobStore("database", "collection", client)
    assert store.client is A_CLIENT
    assert store.collection.full_name == "database.collection"
    with pytest.warns(DeprecationWarning, match='use "client" instead'):
        assert store.connection is A_CLIENT


def test_defaults_are_those_of_the_stock_store_except_the_write_concern():
    store = MongoDBJobStore(connect=False)
    assert store.collection.full_name == "apscheduler.jobs"
    assert store.pickle_protocol == pickle.HIGHEST_PROTOCOL
    assert store.collection.write_concern == WriteConcern()  # the server's own: majority
    store.shutdown()
    weaker = MongoDBJobStore(connect=False, w=1)
    assert weaker.collection.write_concern == WriteConcern(1)
    weaker.shutdown()


def test_repr_names_the_servers_and_no_secret():
    store = MongoDBJobStore(
        "jobs", host="mongodb://user:secret@example.com:27018/?authSource=hidden", connect=False
    )
    assert repr(store) == (
        "<MongoDBJobStore (client=MongoClient(host=['example.com:27018']), collection=jobs.jobs)>"
    )
    store.shutdown()


def test_error_without_pymongo_says_how_to_install_it():
    code = (
        "import sys; sys.modules['pymongo'] = None\n"
        "import jobstore; jobstore.MemoryJobStore\n"
        "jobstore.MongoDBJobStore"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: MongoDBJobStore needs PyMongo: pip install jobstore[mongodb]" in (
        result.stderr
    )


def test_pymongo_is_imported_only_when_needed():
    code = "import sys, jobstore; print('pymongo' in sys.modules, hasattr(jobstore, 'Nothing'))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False False\n"


def test_alias_fastmongodb_makes_our_store(server, database):
    scheduler = by_hand(jobstore.MemoryJobStore())
    scheduler.add_jobstore("fastmongodb", "second", database=database.name, host=server.uri)
    scheduler.add_job("support.jobs:note", "interval", hours=1, id="a", jobstore="second")
    store = scheduler._jobstores["second"]
    assert type(store) is MongoDBJobStore
    assert names(store) == ["a"]
    scheduler.shutdown()


def test_store_works_without_a_start(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.add_job(job("a", 1))
    assert [each.id for each in store.get_due_jobs(at(1))] == ["a"]
    assert store.get_next_run_time() == at(1)
    store.shutdown()


def test_shutdown_closes_the_stores_own_client_and_a_start_opens_another(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.add_job(job("a", 1))
    first = store.client
    store.shutdown()
    store.shutdown()
    with pytest.raises(Exception, match="after close"):
        first.admin.command("ping")
    assert store.get_due_jobs(at(1)) == []  # the scheduler's thread may call once more
    assert store.get_next_run_time() is None
    store.start(None, "again")
    assert [each.id for each in store.get_due_jobs(at(1))] == ["a"]
    store.shutdown()


def test_shutdown_leaves_a_given_client_open(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client)
        store.add_job(job("a", 1))
        store.shutdown()
        assert client.admin.command("ping")["ok"]
        assert store.get_due_jobs(at(1)) == []  # the scheduler's thread may call once more
        store.start(None, "again")
        assert names(store) == ["a"]


def test_start_creates_both_indexes(store):
    store.start(None, "default")
    indexes = store.collection.index_information()
    assert indexes["next_run_time_1"]["sparse"]
    assert indexes["quarantine.since_1"]["sparse"]


@pytest.mark.parametrize("mode", MODES)
def test_no_command_goes_to_a_secondary_despite_the_clients_read_preference(server, database, mode):
    """The set has no secondary, so such a command would fail. A secondary may not have our writes.

    From MongoDB 8.0 on, that is so even when the majority has acknowledged them.
    """
    uri = f"{server.uri}&readPreference=secondary"
    store = MongoDBJobStore(database.name, host=uri, serverSelectionTimeoutMS=100, **MODES[mode])
    store.add_job(job("before"))
    scheduler = by_hand(store)
    store.add_jobs([job("a", 1), job("b", 2, executor="gone")])
    store.update_job(job("a", 3))
    assert store.lookup_job("a").next_run_time == at(3)
    scheduler._process_jobs()
    assert [name for name, _ in scheduler.executor.submitted] == ["before", "a"]
    assert len(store) == len(store.get_all_jobs()) == 3
    store.quarantined()
    store.remove_jobs(["a", "b"])
    assert len(store) == 1
    scheduler.shutdown()


def test_none_is_not_an_id(store):
    store.add_job(job("a", 1))
    assert store.lookup_job(None) is None
    with pytest.raises(JobLookupError):
        store.remove_job(None)


def test_largest_batch_size_is_accepted(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, batch_size=sys.maxsize)
        store.add_jobs([job("a"), job("b")])
        scheduler = by_hand(store)
        scheduler._process_jobs()
        assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a", "b"]


def remove_and_add(store, job):
    store.remove_job(job.id)
    store.add_job(job)


def remove_many_and_add(store, job):
    store.remove_jobs([job.id])
    store.add_jobs([job])


def remove_all_and_add(store, job):
    store.remove_all_jobs()
    store.add_job(job)


@pytest.mark.parametrize(
    "replace",
    [
        MongoDBJobStore.update_job,
        lambda store, job: store.update_jobs([job]),
        lambda store, job: store.add_jobs([job], replace_existing=True),
        remove_and_add,
        remove_many_and_add,
        remove_all_and_add,
    ],
    ids=["update", "update many", "replace", "remove", "remove many", "remove all"],
)
def test_readable_job_that_replaces_an_unreadable_one_sets_the_next_run_time(store, replace):
    later = 4e9  # not yet due, so that no cycle has quarantined it
    store.add_job(job("a", later))
    store.collection.update_one({}, {"$set": {"job_state": b"damaged"}})
    assert store.lookup_job("a") is None
    assert store.get_next_run_time() is None  # no scheduler needs to wake for an unreadable job
    replace(store, job("a", later))
    assert store.lookup_job("a").next_run_time == at(later)
    assert store.get_next_run_time() == at(later)


# Switching from the stock store and back

ZONE = timezone(timedelta(hours=-3))


class Text(str):
    """A class that an application may use for its ids."""


def various():
    """Make jobs of each kind that a stock store may hold."""
    return [
        job("plain", 1),
        job("other zone", 2, next_run_time=at(2).astimezone(ZONE)),
        job("microseconds", 3.123456, args=("x" * 5000,), kwargs={"deep": [{"er": (1, 2)}]}),
        job("cron", 4, trigger=CronTrigger(hour=5, timezone=ZONE, start_date=START)),
        job("once", 5, every=None),
        job("paused", None),
        job("years ahead", 1e9),
        job(Text("named by a class"), 5.5),
        job(
            "called by name", 6, func="support.jobs:note", misfire_grace_time=None, max_instances=9
        ),
    ]


def states(store):
    """Return the states of all jobs. Triggers, which define no equality, become text."""
    return {
        each.id: {**each.__getstate__(), "trigger": str(each.trigger)}
        for each in store.get_all_jobs()
    }


@pytest.fixture
def stock(database, session_client):
    store = StockMongoDBJobStore(database.name, client=session_client)
    store.start(None, "default")
    return store


def test_store_reads_and_fires_jobs_of_a_stock_collection(store, stock):
    for each in various():
        stock.add_job(each)
    assert states(store) == states(stock)
    assert store.get_next_run_time() == stock.get_next_run_time()
    due = ["plain", "other zone", "microseconds", "cron", "once"]
    due += ["named by a class", "called by name"]
    assert [each.id for each in stock.get_due_jobs(at(100))] == due
    assert [each.id for each in store.get_due_jobs(at(100))] == due
    store.get_next_run_time()
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == due
    assert names(store) == sorted({each.id for each in various()} - {"once"})
    assert states(stock) == states(store)


def test_stock_store_reads_and_fires_jobs_of_our_collection(store, stock):
    for each in various()[:4]:
        store.add_job(each)
    store.add_jobs(various()[4:])
    by_hand(store)._process_jobs()
    before = states(store)
    assert states(stock) == before
    assert len(before) == 8
    scheduler = by_hand(stock)
    moment = at(2e9)
    assert [each.id for each in stock.get_due_jobs(moment)] == [
        each.id for each in store.get_due_jobs(moment)
    ]
    scheduler.modify_job("plain", args=("changed",))
    scheduler.remove_job("cron")
    assert store.lookup_job("plain").args == ("changed",)
    assert store.lookup_job("cron") is None


def test_documents_equal_those_of_the_stock_store_but_for_the_texts(store, stock):
    twin = stock.client[stock.collection.database.name]["twin"]
    twin_store = StockMongoDBJobStore(twin.database.name, "twin", client=stock.client)
    for each in various():
        store.add_job(each)
        twin_store.add_job(each)
    assert list(store.collection.find({}, {"about": False})) == list(twin.find())
    for each in various():
        each.next_run_time = at(7.5) if each.next_run_time else None
        store.update_job(each)
        twin_store.update_job(each)
    assert list(store.collection.find({}, {"about": False})) == list(twin.find())


def test_unknown_fields_of_a_document_are_kept(store):
    store.add_job(job("a", 1))
    store.collection.update_one({}, {"$set": {"note": "by hand"}})
    by_hand(store)._process_jobs()
    store.update_job(job("a", 5))
    assert store.collection.find_one()["note"] == "by hand"
    assert run_times(store) == {"a": at(5).timestamp()}

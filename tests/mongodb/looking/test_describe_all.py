"""`describe_all` fills in the texts of all documents, while schedulers run."""

import json
import pickle

import pytest
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore, Where
from jobstore.about import about_job
from jobstore.mongodb.about_field import stored_about
from jobstore.mongodb.looking import describing, walk
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet, regular, run, wait_until_equal
from support.unsteady import MODES
from support.various_documents import infos, insert
from support.waiting import until

FUNC = "support.jobs:note"


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(walk, "BATCH", 3)


def described(collection):
    """Return the ids of the documents whose texts are valid."""
    return sorted(each["_id"] for each in collection.find() if stored_about(each))


def undescribed(store, number=10, **options):
    """Add jobs, and remove their texts."""
    store.add_jobs([job(f"job {i}", i, **options) for i in range(number)])
    store.collection.update_many({}, {"$unset": {"about": ""}})


def test_documents_of_a_stock_store_get_their_texts(store, stock):
    for number in range(5):
        stock.add_job(job(f"job {number}", number))
    assert described(store.collection) == []
    assert store.describe_all() == 5
    for document in store.collection.find():
        assert stored_about(document) == about_job(job(document["_id"]))
    assert store.describe_all() == 0
    assert len(store.find(Where(func=FUNC))) == 5


def test_a_job_that_a_stock_store_has_changed_is_found_again(store, stock):
    store.add_job(job("a", 1))
    stock.update_job(job("a", 1, executor="new"))
    assert store.find(Where(executor="new")) == []
    assert store.find(Where(executor="default")) == []
    assert store.count(Where(executor="default")) == 0
    assert store.describe_all() == 1
    assert [each.id for each in store.find(Where(executor="new"))] == ["a"]


def test_every_kind_of_document_is_described_if_it_can_be_read(store):
    insert(store.collection)
    readable = {info.key for document, info in infos(store.collection) if info.func is not None}
    before = {str(document["_id"]): document for document, _ in infos(store.collection)}
    store.describe_all()
    for document, info in infos(store.collection):
        if info.key in readable:
            assert stored_about(document) == info.about
        old = before[str(document["_id"])]
        document.pop("about", None)
        old.pop("about", None)
        assert str(document) == str(old)
    assert store.describe_all() == 0


def test_old_tags_stay_without_the_argument(store):
    store.add_job(job("a"))
    store.collection.update_one({}, {"$set": {"about.tags": ["kept"], "about.crc": 5}})
    assert store.describe_all() == 1
    assert [each.tags for each in store.find(Where(tag="kept"))] == [("kept",)]


def test_tags_are_asked_for_of_each_job_that_can_be_restored(store, server, database):
    store.add_jobs([job("a", 1, args=("x",)), job("b", 2, args=("y",)), job("marked", 3)])
    store.collection.update_many({}, {"$set": {"about.tags": ["old"]}})
    mark = {"reason": "r", "since": at(0), "next_run_time": 5.0}
    store.collection.update_one({"_id": "marked"}, {"$set": {"quarantine": mark}})
    lost = job("lost", 1)
    state = lost.__getstate__() | {"func": "gone:f"}
    store.add_job(lost)
    store.collection.update_one(
        {"_id": "lost"},
        {"$set": {"job_state": pickle.dumps(state), "about.tags": ["old"]}},
    )
    tagging = MongoDBJobStore(database.name, host=server.uri, tags=lambda job: job.args)
    assert tagging.describe_all() == 3  # the mark's texts are right, and its tags stay
    tags = {each.id: each.tags for each in tagging.find()}
    assert tags == {"a": ("x",), "b": ("y",), "lost": ("old",), "marked": ("old",)}
    assert tagging.describe_all() == 0
    tagging.shutdown()


def test_wrong_tags_are_an_error_that_names_the_job(store, server, database):
    store.add_job(job("a"))
    tagging = MongoDBJobStore(database.name, host=server.uri, tags=lambda job: [5])
    with pytest.raises(TypeError, match="tags returned 5 for job 'a'"):
        tagging.describe_all()
    tagging.shutdown()


def test_tags_that_another_process_gives_meanwhile_stay(store, server, database, monkeypatch):
    store.add_job(job("a"))
    store.collection.update_one({}, {"$set": {"about.crc": 0}})
    tagging = MongoDBJobStore(database.name, host=server.uri, tags=lambda job: ["new"])
    tagging.start(None, "default")
    write = describing._write

    def update_and_write(*args):
        tagging.update_job(job("a"))
        return write(*args)

    monkeypatch.setattr(describing, "_write", update_and_write)
    assert store.describe_all() == 0
    assert [each.id for each in store.find(Where(tag="new"))] == ["a"]
    tagging.shutdown()


def test_progress_is_told_after_each_batch_and_a_later_call_goes_on_there(store, small_batches):
    undescribed(store)
    told = []

    def stop(looked_at, key):
        told.append((looked_at, json.loads(key)[1]))
        if looked_at == 6:
            raise InterruptedError(key)

    with pytest.raises(InterruptedError) as error:
        store.describe_all(progress=stop)
    assert told == [(3, "job 2"), (6, "job 5")]
    assert described(store.collection) == [f"job {i}" for i in range(6)]
    assert store.describe_all(after=str(error.value)) == 4
    assert described(store.collection) == [f"job {i}" for i in range(10)]


def test_after_an_error_of_the_server_a_second_call_describes_the_rest(store, small_batches, point):
    undescribed(store)
    point(
        "failCommand",
        skip=2,
        failCommands=["update"],
        errorCode=8,
        namespace=store.collection.full_name,
    )
    with pytest.raises(PyMongoError):
        store.describe_all()
    point.off()
    done = described(store.collection)
    assert done == [f"job {i}" for i in range(6)]
    assert store.describe_all() == 4
    assert len(described(store.collection)) == 10


def test_a_job_that_changes_meanwhile_is_passed_over(store, monkeypatch):
    undescribed(store, 3)
    write = describing._write

    def change_first(connection, writes):
        state = store.collection.find_one({"_id": "job 0"})["job_state"]
        store.collection.update_one({"_id": "job 1"}, {"$set": {"job_state": state + b" "}})
        return write(connection, writes)

    monkeypatch.setattr(describing, "_write", change_first)
    assert store.describe_all() == 2
    assert described(store.collection) == ["job 0", "job 2"]


@pytest.mark.parametrize("after", ["", "[1]", 5], ids=repr)
def test_a_wrong_key_is_refused(store, after):
    with pytest.raises(ValueError, match="after is"):
        store.describe_all(after)


@pytest.fixture(params=MODES)
def options(request):
    return MODES[request.param]


def test_beside_a_running_scheduler_each_run_happens_once(server, database, options, small_batches):
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    scheduler = run(store)
    store.add_jobs([regular(f"job {i}", every=1) for i in range(60)])
    looking = MongoDBJobStore(database.name, host=server.uri)
    executor = scheduler.executor
    for _ in range(4):
        database["jobs"].update_many({}, {"$unset": {"about": ""}})
        looking.describe_all()
        ran = sum(map(len, list(executor.times.values())))
        until(lambda ran=ran: sum(map(len, list(executor.times.values()))) > ran + 30)
    scheduler.shutdown()
    looking.shutdown()
    for times in executor.times.values():
        assert len(times) == len(set(times)), "no run is doubled"
        seconds = [time.timestamp() for time in times]
        assert seconds == [seconds[0] + i for i in range(len(times))], "no run is lost"
    assert len(executor.times) == 60


def test_a_mirror_stays_equal_to_the_collection(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    scheduler = by_hand(store)
    undescribed(store)
    assert store.describe_all() == 10
    wait_until_equal(store)
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert len(described(database["jobs"])) == 10
    wait_until_equal(store)
    scheduler.shutdown()


def test_a_cycle_that_has_read_the_jobs_before_writes_them_all_the_same(store):
    scheduler = by_hand(store)
    undescribed(store)
    scheduler.executor.then = lambda job: store.describe_all()
    scheduler._process_jobs()
    times = [each["next_run_time"] for each in store.collection.find()]
    assert min(times) > at(10).timestamp()
    assert len(described(store.collection)) == 10

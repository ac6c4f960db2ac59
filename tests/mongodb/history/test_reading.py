"""Reading the history: order, bounds, and documents that anybody may have written."""

from datetime import datetime, timedelta, timezone

import pytest
from bson import ObjectId

from support.waiting import until

NOON = datetime(2020, 1, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def runs(recording):
    """Return the collection of the records, with one each minute from noon."""
    runs = recording(history=None)._connection.runs
    runs.insert_many(
        {"job": "a", "kind": "executed", "time": NOON + timedelta(minutes=n), "runs": n + 1}
        for n in range(5)
    )
    return runs


@pytest.fixture
def store(recording, runs):
    return recording(history=None)


def numbers(store, *arguments, **options):
    return [record.runs for record in store.history(*arguments, **options)]


def test_oldest_record_comes_first(store):
    assert numbers(store, "a") == [1, 2, 3, 4, 5]


def test_limit_keeps_the_latest_records(store):
    assert numbers(store, "a", limit=2) == [4, 5]


def test_since_leaves_out_older_records(store):
    since = NOON + timedelta(minutes=3)
    assert numbers(store, "a", since) == [4, 5]
    assert numbers(store, "a", since.replace(tzinfo=None)) == [4, 5]
    assert numbers(store, "a", since.astimezone(timezone(timedelta(hours=5)))) == [4, 5]


def test_other_jobs_have_other_records(store):
    assert store.history("b") == []
    assert store.history() == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "10", None])
def test_limit_that_is_no_number_is_refused(store, limit):
    with pytest.raises(ValueError, match=f"limit is {limit!r}: it must be a whole number"):
        store.history("a", limit=limit)


def test_id_is_no_condition(store):
    assert store.history({"$ne": None}) == []


def test_reading_takes_the_time_of_its_result(store, recording, database):
    """The index has the records of a job in order, so the server reads as many as it returns."""
    recording(keep=10**8).start(None, "default")  # creates the index
    until(lambda: "job_1_time_1" in store._connection.runs.index_information())
    database.command("profile", 2)
    try:

        def plan():
            numbers(store, "a", limit=2)
            return database["system.profile"].find_one({"op": "query"}, sort=[("$natural", -1)])

        until(lambda: "IXSCAN" in plan()["planSummary"])  # the index may still be under way
        assert plan()["docsExamined"] == 2
        assert "hasSortStage" not in plan()
    finally:
        database.command("profile", 0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": 5, "time": "noon", "runs": "many", "seconds": [], "until": 1, "detail": {}},
        {"runs": float("nan")},
        {"runs": float("inf")},
        {"runs": True, "by": ObjectId(bytes(12)), "run_time": 1e300},
    ],
    ids=["no fields", "other types", "nan", "infinite", "others"],
)
def test_every_document_can_be_read(store, runs, fields):
    runs.insert_one({"job": "b", **fields})
    (record,) = store.history("b")
    assert record.job_id == "b"
    assert isinstance(record.at, datetime)
    assert isinstance(record.runs, int)


@pytest.mark.parametrize("time", ["12:00", NOON.date(), 0], ids=str)
def test_times_of_other_types_are_refused(store, time):
    with pytest.raises(TypeError, match=r"since is .*: it must be a datetime or None"):
        store.history("a", time)
    with pytest.raises(TypeError, match=r"at is .*: it must be a datetime or None"):
        store.why("a", time)


def test_why_without_an_id_is_refused(store):
    with pytest.raises(TypeError, match="job_id is None"):
        store.why(None)

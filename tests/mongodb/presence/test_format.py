"""A store refuses a collection whose format is newer than it can write."""

import pytest

from jobstore.mongodb.presence.format import FORMAT, check_readable, check_writable
from support.standbys import documents

MODES = [{}, {"mirror": True}, {"shared": True}]


def format_of(database):
    return database["jobs_meta"].find_one("format")


@pytest.mark.parametrize("mode", MODES, ids=["queried", "mirrored", "shared"])
def test_first_start_writes_the_format(scheduler_on, database, mode):
    scheduler_on(**mode)
    assert format_of(database) == {"_id": "format", "read": FORMAT, "write": FORMAT}


@pytest.mark.parametrize("mode", MODES, ids=["queried", "mirrored", "shared"])
def test_start_refuses_a_newer_format_and_writes_nothing(scheduler_on, database, mode):
    newer = {"_id": "format", "read": FORMAT, "write": FORMAT + 1}
    database["jobs_meta"].insert_one(newer)
    scheduler = scheduler_on(**mode, start=False)
    with pytest.raises(ValueError, match=r"jobs has format 2, and .* can write to format 1"):
        scheduler.start()
    assert format_of(database) == newer
    assert documents(database) == []
    assert database["jobs_meta"].count_documents({}) == 1
    database["jobs_meta"].delete_one({"_id": "format"})
    scheduler.start()


def test_format_that_only_writers_must_know_may_be_read(scheduler_on, database):
    scheduler = scheduler_on()
    connection = scheduler.store._connection
    database["jobs_meta"].update_one({"_id": "format"}, {"$set": {"write": 2}})
    check_readable(connection)
    with pytest.raises(ValueError, match="install a newer version of jobstore"):
        check_writable(connection)
    database["jobs_meta"].update_one({"_id": "format"}, {"$set": {"read": 2}})
    with pytest.raises(ValueError, match=r"jobs has format 2, and .* can read format 1"):
        check_readable(connection)


@pytest.mark.parametrize("value", ["2", True, None, [9]], ids=repr)
def test_damaged_format_is_none(scheduler_on, database, value):
    database["jobs_meta"].insert_one({"_id": "format", "read": value, "write": value})
    scheduler = scheduler_on()
    check_readable(scheduler.store._connection)


def test_collection_without_a_format_may_be_read(scheduler_on, database):
    scheduler = scheduler_on()
    database["jobs_meta"].delete_many({})
    check_readable(scheduler.store._connection)
    assert format_of(database) is None

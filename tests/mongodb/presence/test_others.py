"""Other schedulers that fire the same jobs without sharing them are named, or refused."""

import threading

import pytest

from jobstore.mongodb.presence import others as others_module
from jobstore.mongodb.presence import presence as presence_module
from jobstore.mongodb.presence.identity import is_of_this_process
from support.standbys import beat, documents, expire, presence_of
from support.waiting import until

TWICE = "Every job runs twice"


def warnings(caplog):
    return [each for each in caplog.records if TWICE in each.msg]


def meet(newer, older):
    """Let the older scheduler write its document again, and the newer one read it."""
    presence = presence_of(older.store)
    presence._write(presence.name, {})
    beat(newer.store)


def name_of(scheduler):
    return presence_of(scheduler.store).name.split(":", 1)[1].rpartition(":")[0]


@pytest.mark.parametrize("mirror", [False, True])
def test_second_scheduler_logs_an_error_once_the_first_has_shown_life(scheduler_on, caplog, mirror):
    first = scheduler_on(mirror=mirror)
    assert warnings(caplog) == []
    beat(first.store)  # the one that follows its start does not come later than the second
    second = scheduler_on()
    beat(second.store)
    assert warnings(caplog) == [], "the first one may have crashed"
    meet(second, first)
    (line,) = until(lambda: warnings(caplog))
    assert line.levelname == "ERROR"
    mode = "mirrored" if mirror else "queried"
    assert f"{name_of(first)} ({mode}, seen " in line.getMessage()
    assert 'shared=True in all of them, or others="wait"' in line.getMessage()
    assert second.store.status().others == (name_of(first),)


def test_first_scheduler_notices_the_second_by_its_next_beat(scheduler_on, caplog):
    first, _ = scheduler_on(), scheduler_on()
    caplog.clear()
    beat(first.store)
    until(lambda: first.store.status().others)
    until(lambda: warnings(caplog))


def test_error_is_repeated_every_ten_minutes(scheduler_on, caplog, monkeypatch):
    first, scheduler = scheduler_on(), scheduler_on()
    meet(scheduler, first)
    until(lambda: warnings(caplog))
    beat(scheduler.store)
    assert len(warnings(caplog)) == 1
    caplog.clear()
    presence_of(scheduler.store)._report._next_at -= others_module.REPEAT_SECONDS
    beat(scheduler.store)
    until(lambda: warnings(caplog))


def test_status_names_nobody_once_the_other_has_shut_down(scheduler_on, caplog):
    first, second = scheduler_on(), scheduler_on()
    meet(second, first)
    until(lambda: second.store.status().others == (name_of(first),))
    first.store.shutdown()
    beat(second.store)
    until(lambda: second.store.status().others == ())


@pytest.mark.parametrize("how", ["expired", "idle", "shut down"])
def test_scheduler_that_does_not_fire_is_no_other(scheduler_on, database, caplog, how):
    first = scheduler_on()
    if how == "shut down":
        first.store.shutdown()
    else:
        first.store._lifecycle.beating.stop()
        change = {"$set": {"expires": "$$NOW"} if how == "expired" else {"state": "idle"}}
        database["jobs_meta"].update_many({"_id": {"$regex": "^scheduler"}}, [change])
    scheduler = scheduler_on()
    change = {"$set": {"seen": "$$NOW"}}  # as if it had written its document again
    database["jobs_meta"].update_many({"_id": {"$regex": "^scheduler"}}, [change])
    beat(scheduler.store)
    assert warnings(caplog) == []
    assert scheduler.store.status().others == ()


def test_schedulers_that_share_are_no_others_of_each_other(scheduler_on, caplog):
    first, scheduler = scheduler_on(shared=True), scheduler_on(shared=True)
    meet(scheduler, first)
    assert warnings(caplog) == []
    assert scheduler.store.status().others == ()


def test_scheduler_that_shares_names_one_that_does_not(scheduler_on, caplog):
    alone = scheduler_on()
    sharing = scheduler_on(shared=True)
    meet(sharing, alone)
    (line,) = until(lambda: warnings(caplog))
    assert name_of(alone) in line.getMessage()
    assert sharing.store.status().others == (name_of(alone),)


def test_dropped_store_of_this_process_is_no_other(scheduler_on, database, caplog, monkeypatch):
    first = scheduler_on()
    first.store._lifecycle.beating.stop()
    (document,) = documents(database)
    assert is_of_this_process(document["_id"])
    presence_of(first.store).name = None  # as if the store had been dropped
    scheduler = scheduler_on()
    beat(scheduler.store)
    assert warnings(caplog) == []
    until(lambda: len(documents(database)) == 1)


def test_at_most_ten_others_are_named(scheduler_on, database, caplog):
    scheduler = scheduler_on()
    (document,) = documents(database)
    database["jobs_meta"].insert_many(
        [{**document, "_id": f"scheduler:host:{n}:x"} for n in range(20)]
    )
    beat(scheduler.store)
    (line,) = until(lambda: warnings(caplog))
    assert line.getMessage().count("seen ") == 10
    assert "10 more" in line.getMessage()


# others="refuse"


@pytest.mark.parametrize("mirror", [False, True])
def test_start_is_refused_while_another_scheduler_runs(scheduler_on, database, mirror):
    first = scheduler_on()
    refusing = scheduler_on(others="refuse", start=False, mirror=mirror)
    with pytest.raises(ValueError, match=r'others is "refuse"') as raised:
        refusing.start()
    assert f"{name_of(first)} (queried, seen " in str(raised.value)
    assert "if it has crashed, wait " in str(raised.value)
    assert len(documents(database)) == 1, "its own document is removed"
    first.store.shutdown()
    refusing.start()
    assert len(documents(database)) == 1


def test_start_is_refused_while_a_standby_waits(scheduler_on):
    scheduler_on(others="wait")
    with pytest.raises(ValueError, match="another scheduler uses"):
        scheduler_on(others="refuse", start=False).start()


def test_start_is_not_refused_after_the_other_has_expired(scheduler_on, database):
    first = scheduler_on()
    first.store._lifecycle.beating.stop()
    expire(database)
    scheduler_on(others="refuse")


def test_scheduler_that_refuses_others_logs_one_that_comes_later(scheduler_on, caplog):
    first = scheduler_on(others="refuse")
    scheduler_on()
    caplog.clear()
    beat(first.store)
    until(lambda: warnings(caplog))


def test_at_most_one_of_two_starts_at_the_same_moment_succeeds(scheduler_on, monkeypatch):
    """Each has written its document before it looks for others."""
    both_have_written = threading.Barrier(2, timeout=60)
    read = presence_module.read_schedulers

    def read_when_both_have_written(*args, **options):
        if threading.current_thread().name.startswith("start"):
            both_have_written.wait()
        return read(*args, **options)

    monkeypatch.setattr(presence_module, "read_schedulers", read_when_both_have_written)
    refused = []

    def start(scheduler):
        try:
            scheduler.start()
        except ValueError as error:
            refused.append(str(error))

    schedulers = [scheduler_on(others="refuse", start=False) for _ in range(2)]
    threads = [threading.Thread(target=start, args=[each], name="start") for each in schedulers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 1 <= len(refused) <= 2
    assert all('others is "refuse"' in each for each in refused)


@pytest.mark.parametrize("others", ["refuse", "wait"])
def test_value_is_refused_with_shared(server, scheduler_on, others):
    with pytest.raises(ValueError, match=f"shared is True and others is '{others}'"):
        scheduler_on(shared=True, others=others)


def test_standby_can_not_be_exclusive(scheduler_on):
    with pytest.raises(ValueError, match="say mirror=True"):
        scheduler_on(mirror="exclusive", others="wait")


def test_unknown_value_is_refused(scheduler_on):
    with pytest.raises(ValueError, match='others is \'never\': it must be "warn", "refuse"'):
        scheduler_on(others="never")

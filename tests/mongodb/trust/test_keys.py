"""The store's keys: which ones it takes, and when it asks for them."""

import re
import secrets

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb.trust import keys as module
from jobstore.mongodb.trust.signatures import Signatures
from jobstore.mongodb.trust.untrusted import UnknownKeyError, UntrustedError
from support.clocks import set_by_hand
from support.jobs import job
from support.manual_scheduler import by_hand
from support.signed_stores import KEY, NEW_KEY, reasons

SECRET = b"secret"
KEYS = [KEY]  # named by a text below
STATE = b"a state"


def given_keys():
    return KEYS


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, module)


class Source:
    """Returns the keys of `answer`, or raises it, and counts the questions."""

    def __init__(self, *answer):
        self.answer = list(answer)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def signatures(keys):
    return Signatures(keys, "jobs.jobs", False)


# Which keys a store takes


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ([], "signing_keys is a list"),
        ((), "signing_keys is a tuple"),
        (KEY, "signing_keys is 16 bytes"),
        ({KEY}, "signing_keys is a set"),
        (5, "signing_keys is a int"),
        ([KEY, SECRET], "signing_keys[1] is 6 bytes"),
        (["secret of sixteen"], "signing_keys[0] is a str"),
        ([bytearray(KEY)], "signing_keys[0] is a bytearray"),
        ([None], "signing_keys[0] is a NoneType"),
        ("support.jobs:note_that_is_missing", "signing_keys is a text"),
        ("", "signing_keys is a text"),
        ("secret without a colon", "signing_keys is a text"),
    ],
)
def test_wrong_keys_are_refused_and_not_shown(wrong, shown):
    with pytest.raises(ValueError, match=f"{re.escape(shown)}.*must be a list of bytes") as raised:
        MongoDBJobStore(signing_keys=wrong)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("wrong", ["", "RUN", None, True, ["run"]])
def test_wrong_treatment_of_unsigned_states_is_refused(wrong):
    with pytest.raises(ValueError, match=re.escape(f"unsigned is {wrong!r}: it must be")):
        MongoDBJobStore(signing_keys=[KEY], unsigned=wrong)


def test_wrong_keys_of_a_callable_end_the_start(server, database):
    store = MongoDBJobStore(database.name, client=database.client, signing_keys=Source(SECRET))
    with pytest.raises(ValueError, match=re.escape("signing_keys[0] is 6 bytes")):
        by_hand(store)


def test_failing_callable_ends_the_start_and_a_call_before_it(server, database):
    source = Source()
    source.answer = OSError("no vault")
    store = MongoDBJobStore(database.name, client=database.client, signing_keys=source)
    with pytest.raises(OSError, match="no vault"):
        store.add_job(job("a"))
    with pytest.raises(OSError, match="no vault"):
        by_hand(store)
    source.answer = [KEY]
    store.add_job(job("a"))
    assert reasons(store.collection) == {}
    store.shutdown()


def test_callable_that_fails_at_the_first_search_puts_no_job_into_quarantine(server, database):
    MongoDBJobStore(database.name, client=database.client, signing_keys=[KEY]).add_job(job("a"))
    source = Source()
    source.answer = OSError("no vault")
    store = MongoDBJobStore(database.name, client=database.client, signing_keys=source)
    for call in (store.get_all_jobs, lambda: store.lookup_job("a")):
        with pytest.raises(OSError, match="no vault"):
            call()
    assert store.quarantined() == []
    store.shutdown()


@pytest.mark.parametrize("name", ["KEYS", "given_keys"])
def test_configuration_may_name_the_keys(server, database, name):
    prefix = "apscheduler.jobstores.default."
    options = {
        "type": "fastmongodb",
        "database": database.name,
        "host": server.uri,
        "signing_keys": f"mongodb.trust.test_keys:{name}",
    }
    scheduler = BackgroundScheduler({prefix + key: value for key, value in options.items()})
    scheduler.start(paused=True)
    try:
        scheduler.add_job(print, "interval", hours=1, id="a")
        assert reasons(database["jobs"]) == {}
    finally:
        scheduler.shutdown()


# Signing and verifying


def test_first_key_signs_and_all_verify():
    old, both = signatures([KEY]), signatures([NEW_KEY, KEY])
    signed_by_old, signed_by_both = old.sign("a", STATE), both.sign("a", STATE)
    assert signed_by_both == signatures([NEW_KEY]).sign("a", STATE) != signed_by_old
    both.verify("a", STATE, signed_by_old)
    both.verify("a", STATE, signed_by_both)
    with pytest.raises(UnknownKeyError, match=f"by the unknown key {signed_by_both['by']}"):
        old.verify("a", STATE, signed_by_both)


def test_ids_of_keys_differ_and_are_no_part_of_the_keys():
    ids = {signatures([secrets.token_bytes(32)]).sign("a", STATE)["by"] for _ in range(100)}
    assert len(ids) == 100
    assert signatures([KEY]).sign("a", STATE)["by"] not in KEY.hex()


@pytest.mark.parametrize("other", [("b", STATE), ("a", STATE + b"x"), ("a", b"")])
def test_signature_is_wrong_for_another_job_or_state(other):
    signed = signatures([KEY])
    with pytest.raises(UntrustedError, match="its signature is wrong"):
        signed.verify(*other, signed.sign("a", STATE))


def test_end_of_the_id_can_not_be_moved_into_the_state():
    signed = signatures([KEY])
    with pytest.raises(UntrustedError, match="its signature is wrong"):
        signed.verify("a", b"bc", signed.sign("ab", b"c"))


# When the callable is asked


def test_callable_is_asked_when_a_key_is_needed(clock):
    source = Source(KEY)
    signed = signatures(source)
    assert source.asked == 0
    for _ in range(3):
        signed.verify("a", STATE, signed.sign("a", STATE))
    assert source.asked == 1


def test_callable_is_asked_again_for_an_unknown_key_every_ten_seconds_at_most(clock):
    source = Source(KEY)
    ours, new = signatures(source), signatures([NEW_KEY]).sign("a", STATE)

    def is_known():
        try:
            ours.verify("a", STATE, new)
        except UnknownKeyError:
            return False
        return True

    ours.sign("a", STATE)
    assert [is_known() for _ in range(3)] == [False] * 3
    assert source.asked == 2  # the question at the start doesn't count
    clock.now += 9.9
    source.answer = [NEW_KEY, KEY]
    assert not is_known()
    clock.now += 0.2
    assert is_known()
    assert source.asked == 3
    assert ours.sign("a", STATE) == new


def test_callable_that_waits_for_long_is_asked_once_for_many_jobs(clock):
    """Otherwise a vault that doesn't answer would stop the scheduler for each such job."""
    asked = []

    def ask():
        asked.append(clock.now)
        if len(asked) == 1:
            return [KEY]
        clock.now += 30
        raise OSError("no vault")

    ours, new = signatures(ask), signatures([NEW_KEY]).sign("a", STATE)
    ours.sign("a", STATE)
    for _ in range(3):
        with pytest.raises(UnknownKeyError):
            ours.verify("a", STATE, new)
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [OSError("no vault"), [SECRET], []])
def test_keys_stay_if_the_callable_fails_later(clock, caplog, answer):
    source = Source(KEY)
    ours = signatures(source)
    signed = ours.sign("a", STATE)
    source.answer = answer
    with pytest.raises(UnknownKeyError):
        ours.verify("a", STATE, signatures([NEW_KEY]).sign("a", STATE))
    ours.verify("a", STATE, signed)
    (record,) = caplog.records
    assert record.getMessage().startswith("Unable to ask for the signing keys again: ")
    assert SECRET.decode() not in caplog.text


def test_list_is_never_asked_again(clock):
    ours = signatures([KEY])
    assert ours.keys.are_as_of(clock.monotonic())
    with pytest.raises(UnknownKeyError):
        ours.verify("a", STATE, signatures([NEW_KEY]).sign("a", STATE))

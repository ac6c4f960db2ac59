"""`verify` counts jobs by their signatures; `sign` lists those without one, and signs them."""

import json
import pickle
import sys
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from bson import ObjectId

from jobstore.cli import groups, signing
from jobstore.mongodb.trust.untrusted import UntrustedError
from support.damaged_documents import good
from support.jobs import at, job
from support.signed_documents import REFERENCE, signatures_of
from support.signed_documents import sign as signed
from support.various_documents import insert

KEYS = ["--keys", REFERENCE]


class Evil:
    def __init__(self, code="pwned"):
        self.code = code

    def __reduce__(self):
        return exec, (f"import sys; sys.modules[{self.code!r}] = sys",)


def evil(job_id, **changes):
    """Make the document of a job that would run code when it is unpickled."""
    state = {**job(job_id).__getstate__(), "args": ([Evil()],), **changes}
    return {**good(job_id), "job_state": pickle.dumps(state)}


def unsigned(store):
    """Return the ids of the documents without a valid signature."""
    trusted = signatures_of(store.collection)

    def is_valid(document):
        try:
            trusted.verify(document["_id"], document["job_state"], document.get("signature"))
        except UntrustedError:
            return False
        return True

    return sorted(each["_id"] for each in store.collection.find() if not is_valid(each))


def test_verify_counts_jobs_by_signature_and_key(run, store):
    store.add_jobs([job(f"{n}") for n in range(4)])
    key_id = signed(store.collection, "1", "2")
    store.collection.update_one({"_id": "3"}, {"$set": {"signature": 5}})
    done = run("verify", *KEYS)
    assert done.rows == [
        ["signature", "valid", "2"],
        ["signature", "unsigned", "1"],
        ["signature", "wrong", "1"],
        ["signature", "unknown", "0"],
        ["key", key_id, "2"],
    ]
    assert (done.code, done.err) == (
        1,
        "jobstore: 2 of 4 jobs have no valid signature -- the command sign lists them\n",
    )
    as_json = run("verify", *KEYS, "--json")
    assert as_json.code == 1
    assert as_json.objects == [
        {"valid": 2, "unsigned": 1, "wrong": 1, "unknown": 0, "by_key": {key_id: 2}}
    ]


def test_verify_succeeds_if_all_signatures_are_valid(run, store):
    assert run("verify", *KEYS).code == 0
    store.add_jobs([job("a"), job("b")])
    signed(store.collection)
    done = run("verify", *KEYS)
    assert (done.code, done.err, done.rows[0]) == (0, "", ["signature", "valid", "2"])


def test_sign_without_a_terminal_needs_an_option(run, store):
    store.add_job(job("a"))
    done = run("sign", *KEYS)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("jobstore: there is no terminal for the question: give --yes ")
    assert unsigned(store) == ["a"]


def test_sign_lists_jobs_by_function_and_signs_them(run, store):
    store.add_jobs([job("a", args=("x",)), job("b"), job("c", kwargs={"k": 1})])
    store.collection.insert_one(evil("evil", func="posix:system"))
    done = run("sign", *KEYS, "--yes")
    assert (done.code, done.err) == (0, "")
    reason = "it has no signature"
    assert done.rows == [
        ["support.jobs:note", "3", reason, "-", "a", "('x',)", "-"],
        ["posix:system", "1", reason, "builtins:exec", "evil", done.rows[1][5], "-"],
        ["4 jobs are signed"],
    ]
    assert "builtins.exec(" in done.rows[1][5]
    assert unsigned(store) == []
    assert "pwned" not in sys.modules
    assert run("sign", *KEYS, "--yes").rows == [["no jobs to sign"]]


def test_triggers_times_and_zones_are_no_unusual_names(run, store):
    zone = ZoneInfo("Europe/Berlin")
    triggers = [
        CronTrigger(day="last", hour="1-5", day_of_week="mon", timezone=zone),
        OrTrigger([CronTrigger(day="2nd mon", timezone=zone), DateTrigger(at(0), zone)]),
    ]
    for number, trigger in enumerate(triggers):
        store.add_job(job(f"{number}", trigger=trigger, args=(at(0), {1, 2}, 1j)))
    assert [row[3] for row in run("sign", *KEYS, "--yes").rows[:-1]] == ["-"]
    store.add_job(job("a", trigger=triggers[0], args=(getattr,)))
    assert run("sign", *KEYS, "--yes").rows[0][3] == "builtins:getattr"


def test_example_is_a_job_with_an_unusual_name(run, store):
    store.add_jobs([job("a"), job("b", args=(ObjectId,)), job("c")])
    done = run("sign", *KEYS, "--yes")
    assert done.rows[0][3:5] == ["bson.objectid:ObjectId", "b"]


def test_json_lists_each_job_and_signs_nothing(run, store):
    store.add_job(job("a"))
    store.collection.insert_one({**good("x"), "_id": 5})
    other, first = run("sign", *KEYS, "--json").objects
    assert (first["id"], first["can_be_signed"]) == ("a", True)
    assert first["reason"] == "it has no signature"
    assert "apscheduler.triggers.interval:IntervalTrigger" in first["names"]
    assert first["info"]["func"] == "support.jobs:note"
    assert len(first["digest"]) == 64
    assert json.loads(first["key"])[1] == "a"
    assert (other["id"], other["can_be_signed"], other["names"]) == (5, False, [])
    assert store.collection.count_documents({"signature": {"$exists": True}}) == 0


def test_json_with_yes_signs_and_ends_with_the_counts(run, store):
    store.add_jobs([job("a"), job("b")])
    done = run("sign", *KEYS, "--json", "--yes")
    assert (done.code, len(done.objects)) == (0, 3)
    assert done.objects[-1] == {"signed": 2, "left": 0}
    assert unsigned(store) == []


def test_jobs_that_change_after_the_listing_are_left(run, store, monkeypatch):
    store.add_jobs([job("a"), job("b"), job("c")])
    sign_listed = signing.sign_listed

    def swap_and_sign(*arguments):
        store.update_job(job("b", args=("swapped",)))
        store.remove_job("c")
        store.add_job(job("new"))
        return sign_listed(*arguments)

    monkeypatch.setattr(signing, "sign_listed", swap_and_sign)
    done = run("sign", *KEYS, "--yes")
    assert done.code == 0
    assert done.rows[1] == ["1 jobs are signed"]
    assert done.rows[2][0].startswith("2 jobs were left: they changed meanwhile, ")
    assert unsigned(store) == ["b", "new"]


def test_documents_that_are_no_jobs_are_named_and_stay_unsigned(run, store):
    insert(store.collection)
    done = run("sign", *KEYS, "--yes")
    assert done.code == 0
    *_, others, result, _ = done.out.splitlines()
    assert " documents are no jobs: " in others
    assert result.endswith(" jobs are signed")
    again = run("sign", *KEYS, "--yes")
    assert again.out.splitlines() == [others, "no jobs to sign"]


def test_json_lists_every_kind_of_document(run, store):
    insert(store.collection)
    done = run("sign", *KEYS, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    assert len(done.objects) == len(store)


def test_names_and_ids_that_are_no_unicode_are_escaped(run, store):
    state = pickle.dumps({**job("a").__getstate__(), "args": (print, "\ud800")}, 4)
    state = state.replace(b"\x8c\x05print", b"\x8c\x05\xed\xa0\x80nt")
    store.collection.insert_one({**good("a"), "job_state": state})
    for options in ["--json"], ["--yes"]:
        done = run("sign", *KEYS, *options)
        assert (done.code, done.err) == (0, "")
        assert "builtins:\\ud800nt" in done.out


def test_signed_jobs_in_quarantine_are_restored_by_the_next_command(run, store):
    store.add_job(job("a"))
    mark = {"reason": "it has no signature", "since": at(0), "next_run_time": 5.0}
    store.collection.update_one({}, {"$set": {"quarantine": mark, "next_run_time": None}})
    done = run("quarantine", "restore", *KEYS)
    assert (done.code, done.out) == (1, "")
    assert done.err == "jobstore: 1 jobs stay in quarantine (a: it has no signature)\n"
    *_, hint = run("sign", *KEYS, "--yes").rows
    _, _, command = hint[0].partition(" or run: jobstore ")
    assert command == f"quarantine restore --keys {REFERENCE}"
    assert [each.id for each in store.quarantined()] == ["a"]
    assert run(*command.split()) == (0, "a\n", "")
    assert store.quarantined() == []


def test_number_of_groups_names_and_reasons_is_bounded(run, store, monkeypatch):
    monkeypatch.setattr(groups, "MOST_GROUPS", 2)
    monkeypatch.setattr(groups, "MOST_NAMES", 2)
    monkeypatch.setattr(groups, "MOST_REASONS", 1)
    for number in range(4):
        state = {**job(f"{number}").__getstate__(), "func": f"m:f{number}"}
        store.collection.insert_one({**good(f"{number}"), "job_state": pickle.dumps(state)})
    named = [getattr(pickle, name) for name in ("PickleError", "PicklingError", "Pickler")]
    store.add_jobs([job(f"9{n}", args=(each,)) for n, each in enumerate(named)])
    store.collection.update_one({"_id": "3"}, {"$set": {"signature": 5}})
    rows = run("sign", *KEYS, "--yes").rows
    assert [row[:2] for row in rows[:-1]] == [["m:f0", "1"], ["m:f1", "1"], [groups.OTHERS, "5"]]
    assert rows[2][2] == "it has no signature (4), other reasons (1)"
    assert rows[2][3] == "_pickle:PickleError, _pickle:PicklingError, (and more)"
    assert rows[-1] == ["7 jobs are signed"]


def test_very_long_texts_are_cut(run, store):
    state = {**job("a").__getstate__(), "func": "f" * 10_000, "id": "i" * 10_000}
    document = {**good("a"), "_id": "i" * 10_000, "job_state": pickle.dumps(state)}
    store.collection.insert_one(document)
    done = run("sign", *KEYS, "--yes")
    assert max(map(len, done.out.splitlines())) < 2000
    assert unsigned(store) == []


@pytest.mark.parametrize("command", [["verify"], ["sign", "--yes"], ["quarantine", "restore"]])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "--keys must name the keys as MODULE:NAME"),
        ("k" * 16, "--keys must name the keys as MODULE:NAME"),
        ("no_such_module:keys", "--keys: ModuleNotFoundError: No module named 'no_such_module'"),
        ("support.jobs:gone", "--keys: LookupError: Error resolving reference support.jobs:gone"),
        ("support.hostile_keys:short", "--keys: signing_keys[0] is 6 bytes: it must be a list of"),
        ("support.hostile_keys:text", "--keys: signing_keys is a str: it must be a list of"),
        ("support.hostile_keys:empty", "--keys: signing_keys is a list: it must be a list of"),
        ("support.hostile_keys:fails", "--keys: its module raised ValueError"),
        ("support.hostile_keys:fails_by_name", "--keys: its module raised KeyError"),
        ("support.hostile_keys:missing", "--keys: FileNotFoundError: "),
    ],
)
def test_keys_that_can_not_be_used_are_an_error_without_their_bytes(run, text, reason, command):
    done = run(*command, "--keys", text)
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith(f"jobstore: {reason}")
    assert "secret" not in line
    assert "kkkk" not in line


@pytest.mark.parametrize("command", ["verify", "sign"])
def test_keys_are_required(run, command):
    done = run(command)
    assert done.code == 2
    assert "--keys" in done.err


def test_a_callable_may_return_the_keys(run, store):
    store.add_job(job("a"))
    signed(store.collection)
    assert run("verify", "--keys", "support.hostile_keys:good").code == 0


def test_path_stays_as_it_was(run, store):
    before = list(sys.path)
    run("verify", *KEYS)
    run("sign", *KEYS, "--yes")
    run("verify", "--keys", "gone:gone")
    assert sys.path == before

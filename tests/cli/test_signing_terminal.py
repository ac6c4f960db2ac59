"""`sign` and `verify` on a terminal: the listing, the question, and hostile texts."""

import os
import pickle
import re
import select
import signal
import subprocess
from contextlib import contextmanager

import pytest

from support.damaged_documents import good
from support.jobs import at, job
from support.signed_documents import KEY, signatures_of
from support.signed_documents import sign as signed
from support.terminals import on_terminal

from .conftest import PROGRAM

HOSTILE = "\x1b]0;title\x07\x1b[2J[red]bold[/red]\u202e\r\n\x9b31m"
KEYS = ["--keys", "keys_of_the_terminal_test:KEYS"]


@pytest.fixture
def terminal(target, tmp_path, monkeypatch):
    """Return a function that runs a command on a terminal, in a directory with signing keys."""
    (tmp_path / "keys_of_the_terminal_test.py").write_text(f"KEYS = [{KEY!r}]\n")
    monkeypatch.setenv("JOBSTORE_URL", target)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())

    @contextmanager
    def terminal(*arguments, width=80, **options):
        with on_terminal([*PROGRAM, *arguments], width, cwd=tmp_path, **options) as shown:
            yield shown
        assert shown.has_cursor
        assert "Traceback" not in shown.text

    return terminal


def answer(shown, text):
    shown.wait_for(r"\[y/N\] ")
    os.write(shown.master, text)
    return shown.end()


def valid(store):
    """Return the ids of the jobs with valid signatures."""
    trusted = signatures_of(store.collection)
    found = store.collection.find({"signature": {"$exists": True}})
    documents = [(each["_id"], each["job_state"], each["signature"]) for each in found]
    assert [trusted.verify(*each) for each in documents]
    return sorted(job_id for job_id, *_ in documents)


@pytest.mark.parametrize("text", [b"y\n", b"YES\n"])
def test_yes_signs_the_listed_jobs(terminal, store, text):
    store.add_jobs([job(f"{n:04}", n) for n in range(1234)])
    with terminal("sign", *KEYS) as shown:
        assert answer(shown, text) == 0
    assert "Sign 1,234 jobs? [y/N] " in shown.text
    assert shown.screen[-1] == "1,234 jobs are signed"
    assert len(valid(store)) == 1234


@pytest.mark.parametrize("text", [b"\n", b"n\n", b"yep\n", b"\x04"])
def test_any_other_answer_signs_nothing(terminal, store, text):
    store.add_job(job("a"))
    with terminal("sign", *KEYS) as shown:
        assert answer(shown, text) == 1
    assert shown.screen[-1].endswith("jobstore: nothing is signed")
    assert store.collection.count_documents({"signature": {"$exists": True}}) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_at_the_question_signs_nothing(terminal, store, number, code):
    store.add_job(job("a"))
    with terminal("sign", *KEYS) as shown:
        shown.wait_for(r"\[y/N\] ")
        answered = []
        while not answered:  # a signal just before the read is seen only after it
            os.killpg(shown.process.pid, number)
            answered, _, _ = select.select([shown.master], [], [], 1)
        assert shown.end() == code
    assert store.collection.count_documents({"signature": {"$exists": True}}) == 0


def test_a_job_swapped_while_the_question_waits_is_not_signed(terminal, store):
    store.add_jobs([job("a"), job("b")])
    with terminal("sign", *KEYS) as shown:
        shown.wait_for(r"\[y/N\] ")
        store.update_job(job("b", args=("swapped",)))
        store.add_job(job("c"))
        assert answer(shown, b"y\n") == 0
    assert "1 jobs are signed" in shown.text
    assert "1 jobs were left: they changed meanwhile" in shown.text
    assert valid(store) == ["a"]


def test_listing_shows_each_function_and_foreign_names_nearest_to_the_question(terminal, store):
    store.add_jobs([job("a"), job("b"), job("c")])
    state = {**job("evil").__getstate__(), "func": "myapp:f", "args": (os.system, "rm -rf")}
    store.collection.insert_one({**good("evil"), "job_state": pickle.dumps(state)})
    with terminal("sign", *KEYS) as shown:
        assert answer(shown, b"n\n") == 1
    lines = [line for line in shown.screen if line]
    assert lines[1:] == [
        "support.jobs:note",
        "  jobs        3",
        "  reason      it has no signature",
        "  example     a",
        "  args        ()",
        "myapp:f",
        "  jobs        1",
        "  reason      it has no signature",
        "  names       posix:system",
        "  example     evil",
        "  args        (posix.system, 'rm -rf')",
        "Sign 4 jobs? [y/N] n",
        "jobstore: nothing is signed",
    ]


def test_a_listing_that_hides_something_asks_no_question(terminal, store):
    state = {**job("a").__getstate__(), "func": "f" * 1000}
    store.collection.insert_one({**good("a"), "job_state": pickle.dumps(state)})
    with terminal("sign", *KEYS) as shown:
        assert shown.end() == 1
    assert "nothing is signed: the jobs have more functions" in shown.text
    assert "[y/N]" not in shown.text


def test_nothing_to_sign_asks_no_question(terminal, store):
    store.add_job(job("a"))
    signed(store.collection)
    with terminal("sign", *KEYS) as shown:
        assert shown.end() == 0
    assert shown.screen == ["no jobs to sign"]


def test_json_on_a_terminal_asks_no_question(terminal, store):
    store.add_job(job("a"))
    with terminal("sign", *KEYS, "--json", width=4000) as shown:
        assert shown.end() == 0
    assert '"can_be_signed": true' in shown.text
    assert store.collection.count_documents({"signature": {"$exists": True}}) == 0


def test_verify_shows_the_counts_and_the_keys(terminal, store):
    store.add_jobs([job("a"), job("b"), job("c")])
    key_id = signed(store.collection, "a", "b")
    with terminal("verify", *KEYS) as shown:
        assert shown.end() == 1
    lines = {line.split()[0]: line.split()[1] for line in shown.screen if len(line.split()) > 1}
    assert (lines["valid"], lines["unsigned"], lines[key_id]) == ("2", "1", "2")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(terminal, store, width):
    store.add_jobs(
        [job("a", args=(os.system, "two words " * 30)), job("b", kwargs={"k": "w " * 90})]
    )
    mark = {"reason": "it has no signature", "since": at(0), "next_run_time": 5.0}
    store.collection.update_many({}, {"$set": {"quarantine": mark, "next_run_time": None}})
    store.collection.insert_one({"_id": "no job " * 20, "job_state": b"x"})
    with terminal("sign", *KEYS, width=width, stderr=subprocess.DEVNULL) as shown:
        assert answer(shown, b"y\n") == 0
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.text)
    assert plain.count("\n") == len(shown.screen)


@pytest.mark.parametrize("colour", [True, False])
def test_hostile_texts_are_escaped(terminal, store, colour, monkeypatch):
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    state = {**job("a").__getstate__(), "id": HOSTILE, "func": HOSTILE, "args": (HOSTILE,)}
    pickled = pickle.dumps({**state, "kwargs": {HOSTILE: print}}, 3)
    pickled = pickled.replace(b"cbuiltins\nprint\n", b"cx\x1b[2J\nev\xc2\x9bil\xe2\x80\xae\n")
    signature = {"by": HOSTILE, "of": b"x"}
    document = {**good("a"), "_id": HOSTILE, "job_state": pickled, "signature": signature}
    store.collection.insert_one(document)
    store.collection.insert_one({"_id": f"{HOSTILE} no job", "job_state": b"x"})
    with terminal("sign", *KEYS, width=400, stderr=subprocess.DEVNULL) as shown:
        assert answer(shown, b"y\n") == 0
    plain = re.sub(r"\x1b\[(\d+(;\d+)*)?m", "", shown.text).replace("\r\n", "\n")
    plain = re.sub(r"\x1b\[\?25[hl]", "", plain)
    assert all(each.isprintable() or each == "\n" for each in plain), plain
    assert "\\x1b]0;title" in plain

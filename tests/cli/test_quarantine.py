"""`quarantine` lists jobs with their reasons, and restores those that load again."""

import pickle
import subprocess
import sys

import pytest

from support.jobs import at, job
from support.processes import PATIENCE

MODULE = "jobs_of_the_cli_test"


def put(store, job_id, reason="gone", **changes):
    """Store a job's document as one in quarantine."""
    store.add_job(job(job_id))
    mark = {"reason": reason, "since": at(0), "next_run_time": at(5).timestamp(), **changes}
    update = {"$set": {"quarantine": mark, "next_run_time": None}}
    store.collection.update_one({"_id": job_id}, update)


def spoil(store, job_id):
    store.collection.update_one({"_id": job_id}, {"$set": {"job_state": b"garbage"}})


def test_quarantine_lists_ids_times_and_reasons(run, store):
    put(store, "a", "LookupError: no such\tmodule\n")
    assert run("quarantine").rows == [
        [
            "a",
            "2020-01-01T00:00:00+00:00",
            "2020-01-01T00:00:05+00:00",
            "LookupError: no such\\tmodule\\n",
        ]
    ]
    assert run("quarantine", "list") == run("quarantine")


def test_target_may_be_an_argument(run, store, target, monkeypatch):
    put(store, "a")
    monkeypatch.delenv("JOBSTORE_URL")
    assert run("quarantine", target).rows[0][0] == "a"
    assert run("quarantine", "list", target).rows[0][0] == "a"
    assert run("quarantine", "restore", target, "a") == (0, "a\n", "")


def test_json_has_each_mark(run, store):
    put(store, "a")
    assert run("quarantine", "--json").objects == [
        {
            "id": "a",
            "reason": "gone",
            "since": "2020-01-01T00:00:00+00:00",
            "next_run_time": "2020-01-01T00:00:05+00:00",
        }
    ]


def test_empty_quarantine_has_no_lines(run, store):
    assert run("quarantine") == (0, "", "")
    assert run("quarantine", "--json") == (0, "", "")
    assert run("quarantine", "restore") == (0, "", "")


def test_marks_of_other_types_are_listed(run, store):
    put(store, "a", {"a": 1}, since="today", next_run_time="soon")
    done = run("quarantine")
    assert done.rows == [["a", "today", "-", "{'a': 1}"]]
    assert run("quarantine", "--json").code == 0


def test_restore_takes_all_jobs_back_that_load(run, store):
    put(store, "a")
    put(store, "b")
    assert run("quarantine", "restore") == (0, "a\nb\n", "")
    assert store.quarantined() == []
    assert store.lookup_job("a").next_run_time == at(5)


def test_restore_takes_the_named_jobs_back(run, store):
    put(store, "a")
    put(store, "b", attempts=3)
    assert run("quarantine", "restore", "b") == (0, "b\n", "")
    assert [each.id for each in store.quarantined()] == ["a"]


def test_jobs_that_stay_in_quarantine_are_an_error_with_their_reasons(run, store):
    put(store, "a")
    put(store, "bad", "UnpicklingError")
    spoil(store, "bad")
    done = run("quarantine", "restore")
    assert (done.code, done.out) == (1, "a\n")
    assert done.err == "jobstore: 1 jobs stay in quarantine (bad: UnpicklingError)\n"


def test_unknown_ids_are_an_error_after_the_others_are_back(run, store):
    put(store, "a")
    done = run("quarantine", "restore", "a", "gone")
    assert (done.code, done.out) == (1, "a\n")
    assert done.err == "jobstore: not in quarantine: gone\n"


def test_restore_finds_code_in_the_current_directory(store, target, tmp_path):
    """The console script does not have this directory on its path; the other commands don't."""
    (tmp_path / f"{MODULE}.py").write_text("def run(): pass\n")
    state = job("a").__getstate__() | {"func": f"{MODULE}:run"}
    put(store, "a")
    store.collection.update_one({"_id": "a"}, {"$set": {"job_state": pickle.dumps(state)}})
    script = "import sys; from jobstore.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", script] if sys.version_info >= (3, 11) else None
    command = command or [sys.executable, "-c", f"import sys; sys.path.remove(''); {script}"]
    done = subprocess.run(
        [*command, "quarantine", "restore", target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "")


def test_restore_leaves_the_path_as_it_was(run, store):
    before = list(sys.path)
    run("quarantine", "restore")
    assert sys.path == before


@pytest.mark.parametrize("words", [["frob"], ["restore", "--frob"], ["list", "a", "b"]])
def test_wrong_words_are_refused(run, words):
    assert run("quarantine", *words).code == 2

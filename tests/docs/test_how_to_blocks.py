"""The blocks of the how-to pages are true: Python runs, and other files parse."""

import configparser
import pickle
import subprocess
import sys
from datetime import datetime, timezone

import pytest
import yaml

from jobstore import MongoDBJobStore
from support.jobs import job
from support.pages import DOCS, blocks
from support.programs import command, environment

PAGES = sorted((DOCS / "how-to").glob("*.md"))
BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages):
    return pytest.mark.parametrize(
        "block",
        [pytest.param(each, id=each.place) for each in BLOCKS if each.language in languages],
    )


def add_overdue_jobs(store):
    """Add the jobs that the page on gaps talks about."""
    store.add_jobs([job(name, 1) for name in ("report", "newsletter", "backup")])


def add_quarantined_jobs(store):
    """Add the jobs that the page on quarantine talks about: their executor is missing."""
    names = "report", "newsletter", "convert"
    store.add_jobs([job(name, executor="gone") for name in names])
    mark = {"reason": "there is no executor 'gone' here", "next_run_time": 1.0}
    mark["since"] = datetime.now(timezone.utc)
    store.collection.update_many({}, {"$set": {"next_run_time": None, "quarantine": mark}})


def add_jobs_of_other_code(store):
    """Add the jobs that the page on looking in talks about, as a process that has their code does.

    One is paused. Their function can't be imported here.
    """
    for number, seconds in (16, None), (17, 1):
        added = job(f"report-{number}", seconds, args=("all",))
        added.func_ref = "reports:send"
        store.collection.insert_one(
            {
                "_id": added.id,
                "next_run_time": added.next_run_time and added.next_run_time.timestamp(),
                "job_state": pickle.dumps(added.__getstate__()),
            }
        )


def add_an_unsigned_job(store):
    """Add the job that the page on signatures talks about, in quarantine for its signature."""
    store.add_jobs([job("report", func=print, args=("all",))])
    mark = {"reason": "it has no signature", "next_run_time": 1.0}
    mark["since"] = datetime.now(timezone.utc)
    store.collection.update_many({}, {"$set": {"next_run_time": None, "quarantine": mark}})


SETUPS = {
    "gap": add_overdue_jobs,
    "look-in": add_jobs_of_other_code,
    "quarantine": add_quarantined_jobs,
    "sign": add_an_unsigned_job,
}
PRINTS = {
    "choose-a-mode": ["Status(connected=True, pending=0"],
    "look-in": [
        "report-17 2020-01-01 00:00:01+00:00 interval[3650 days, 0:00:00] ('all',)",
        "1 jobs are paused",
        "JobInfo(id='report-17', ",
        "2 jobs found",
        "2 jobs on the first page",
        "2 documents read",
        "['mail']",
    ],
    "monitor": ["True ["],
    "why": ["paused\nThe job "],
    "gap": ["report {", "'op': 'catch_up'", "\n1\n"],
    "quarantine": ["newsletter there is no executor 'gone' here"],
    "sign": [
        "Verification(valid=0, unsigned=1, wrong=0, unknown=0, by_key={})",
        "report builtins:print ('all',) (",
        ") it has no signature",
        "['report']",
    ],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_of_a_page_run_in_their_order(page, server, session_client, tmp_path):
    """They use the database of a newcomer, `apscheduler`."""
    session_client.drop_database("apscheduler")
    if setup := SETUPS.get(page.stem):
        store = MongoDBJobStore(host=server.uri)
        setup(store)
        store.shutdown()
    (tmp_path / "signing-keys").write_text("5a" * 32)  # as the page on signatures makes one
    variables = {
        "MONGODB_URI": server.uri,
        "SIGNING_KEYS": "signing-keys",
        "METRICS_PORT": "0",
        "PYTHONWARNINGS": "error::DeprecationWarning",
    }
    done = subprocess.run(
        command("run_page", page, server.uri),
        cwd=tmp_path,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in PRINTS.get(page.stem, []):
        assert line in done.stdout, done.stdout + done.stderr
    session_client.drop_database("apscheduler")


@of("python")
def test_python_blocks_compile(block):
    compile(block.code, block.place, "exec")


@of("ini")
def test_ini_blocks_parse(block):
    assert configparser.ConfigParser().read_string(block.code) is None


@of("yaml")
def test_yaml_blocks_parse(block):
    assert isinstance(yaml.safe_load(block.code), dict)


def test_pytest_example_passes(tmp_path):
    page = DOCS / "how-to" / "testing.md"
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_pages_use_no_other_languages():
    known = {"python", "ini", "sh", "js", "text", "mermaid", "dockerfile", "yaml"}
    assert {block.language for block in BLOCKS} <= known

"""The scripts of `examples/` run as their users run them: each in a process of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from pymongo import MongoClient

from jobstore.testing import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 60  # seconds


@contextlib.contextmanager
def running(*command, **environment):
    """Start a Python process, and kill it at the end, or after a minute, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def output_of(*command):
    with running(*command) as process:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        return output


def lines_until(process, wanted):
    """Read a process's lines until one matches, and return the match."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(wanted, line):
            return found
    raise AssertionError(f"the process ended without {wanted!r}:\n{''.join(lines)}")


def end(process, number):
    """Send a signal, and return the rest of the output of a process that ends well."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def empty_server(server, session_client):
    """Return the server without the examples' databases."""
    databases = "mongodb_example", "shared_example", "fastapi_example"
    for name in databases:
        session_client.drop_database(name)
    yield server
    for name in databases:
        session_client.drop_database(name)


def test_memory_example_sends_three_reminders_and_ends():
    output = output_of(EXAMPLES / "memory.py")
    reminders = re.findall(r"reminder to customer (\d)", output)
    assert sorted(reminders) == ["0", "1", "2"]
    assert "99997 reminders wait\n" in output


def test_mongodb_example_stores_a_job_and_its_next_run_finds_it(empty_server):
    first, second = (output_of(EXAMPLES / "mongodb.py", empty_server.uri) for _ in range(2))
    assert re.fullmatch(r"stored, due at .*\n", first)
    assert re.fullmatch(r"found, due at .*\nthe report runs\n", second)


def test_two_processes_of_the_shared_example_share_the_jobs_until_a_signal_ends_them(empty_server):
    script = EXAMPLES / "shared.py", empty_server.uri
    with running(*script) as one, running(*script) as other:
        for process in (one, other):
            lines_until(process, f"process {process.pid} runs job")
        end(one, signal.SIGINT)
        jobs = set()
        while len(jobs) < 10:  # the other process runs all of them
            jobs.add(lines_until(other, r"runs job (\d)")[1])
        end(other, signal.SIGTERM)


def test_fastapi_example_runs_a_reminder_and_shuts_down_with_the_server(empty_server):
    port = str(free_port())
    command = "-m", "uvicorn", "--app-dir", EXAMPLES, "--port", port, "fastapi_app:app"
    with running(*command, MONGODB_URI=empty_server.uri) as process:
        lines_until(process, "Uvicorn running")
        added = [
            add_reminder(port, text, seconds) for text, seconds in (("milk", 0.1), ("tea", 3600))
        ]
        assert lines_until(process, "reminder: (.*)")[1] == "milk"
        page = reminders(port)
        while len(page["reminders"]) > 1:  # the mirror has still to write the run
            page = reminders(port)
        assert [(each["id"], each["text"]) for each in page["reminders"]] == [
            (added[1], "('tea',)")
        ]
        assert reminders(port, after=page["after"]) == {"reminders": [], "after": None}
        output = end(process, signal.SIGINT)
        assert "Application shutdown complete" in output
        assert "Traceback" not in output
    with MongoClient(empty_server.uri) as client:  # the mirror has written the run
        assert [job["_id"] for job in client["fastapi_example"]["jobs"].find()] == [added[1]]


def add_reminder(port, text, seconds):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/reminders/{text}?seconds={seconds}", method="POST"
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["id"]


def reminders(port, **query):
    address = f"http://127.0.0.1:{port}/reminders?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_each_example_has_a_test():
    tested = set(re.findall(r'EXAMPLES / "(\w+)\.py"', Path(__file__).read_text()))
    assert tested | {"fastapi_app"} == {path.stem for path in EXAMPLES.glob("*.py")}

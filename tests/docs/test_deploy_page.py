"""The files of the page on deployment run: in real processes, under a real gunicorn."""

import http.client
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress

import pytest

from jobstore.testing import free_port
from support.pages import DOCS, blocks
from support.programs import environment
from support.waiting import until

PAGE = DOCS / "how-to" / "deploy.md"
REPORTS = 30


@pytest.fixture
def folder(tmp_path, session_client):
    """Return a folder with the page's files; the database `apscheduler` is empty."""
    session_client.drop_database("apscheduler")
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).write_text(block.code)
    yield tmp_path
    session_client.drop_database("apscheduler")


@contextmanager
def running(folder, server, *command):
    """Run a Python program until the block ends; then it has to end by SIGTERM."""
    variables = environment() | {"MONGODB_URI": server.uri}
    variables["HOME"] = str(folder)  # gunicorn writes there
    with open(folder / f"{command[0]}.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=variables, stdout=log, stderr=log
        )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@contextmanager
def gunicorn(folder, server, *options):
    """Run gunicorn with two workers; yield a function that asks for a report."""
    port = free_port()
    bind = f"127.0.0.1:{port}"
    command = "-m", "gunicorn", "-b", bind, "-w", "2", *options, "web:app"

    def post(name):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", f"/reports/{name}")
        status = connection.getresponse().status
        connection.close()
        return status

    def is_up():
        with suppress(OSError):
            return post("first") == 202

    with running(folder, server, *command):
        until(is_up, 30)
        yield post


def reports(folder):
    """Return how often each report was made, and by how many processes."""
    with suppress(FileNotFoundError):
        lines = [line.split() for line in (folder / "reports.txt").read_text().splitlines()]
        return Counter(name for name, _ in lines), len({pid for _, pid in lines})
    return Counter(), 0


def post_and_wait(folder, post):
    for number in range(REPORTS):
        assert post(f"report-{number}") == 202
    until(lambda: len(reports(folder)[0]) == REPORTS + 1, 30)


def share(folder):
    """Change the files as the page says for a scheduler in each worker."""
    store, hook = (
        block.code for block in blocks(PAGE) if block.language == "python" and not block.title
    )
    line = re.compile(r"^store = .*$", re.MULTILINE)
    web, conf = folder / "web.py", folder / "gunicorn.conf.py"
    web.write_text(line.sub(line.search(store)[0], web.read_text()))
    old = conf.read_text()
    conf.write_text(f"{hook}\n\n{old[old.index('def worker_exit') :]}")


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["imported late", "preloaded"])
def test_jobs_of_gunicorns_workers_run_once_in_the_schedulers_process(
    folder, server, session_client, options
):
    with running(folder, server, "serve.py"):
        with gunicorn(folder, server, *options) as post:
            post_and_wait(folder, post)
        counts, processes = reports(folder)
        assert set(counts.values()) == {1}
        assert processes == 1
    left = [each["_id"] for each in session_client["apscheduler"]["jobs_meta"].find()]
    assert left == ["format"], "all have shut down"


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["imported late", "preloaded"])
def test_jobs_run_once_with_a_scheduler_in_each_of_gunicorns_workers(folder, server, options):
    share(folder)
    with gunicorn(folder, server, *options) as post:
        post_and_wait(folder, post)
    counts, processes = reports(folder)
    assert set(counts.values()) == {1}
    assert processes <= 2


def test_scheduler_started_before_the_fork_runs_the_jobs_of_the_workers(folder, server):
    web = folder / "web.py"
    # Without this import, a fork may come while the scheduler's thread imports the module. Then the
    # import never ends in the child, in any Python program.
    text = "import tasks\n" + web.read_text().replace("watch=False, ", "")
    web.write_text(f"{text}\n\nscheduler.start()\n")
    (folder / "gunicorn.conf.py").unlink()
    with gunicorn(folder, server, "--preload") as post:
        post_and_wait(folder, post)
    counts, processes = reports(folder)
    assert set(counts.values()) == {1}
    assert processes == 1


def test_unit_for_systemd_has_the_sections_of_a_service(folder):
    sections = re.findall(r"^\[(\w+)\]$", (folder / "scheduler.service").read_text(), re.MULTILINE)
    assert sections == ["Unit", "Service", "Install"]

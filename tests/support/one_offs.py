"""One-off jobs that processes run, and the file in which these jobs write down their runs."""

import json
import pickle
import subprocess

import pytest

from support.jobs import job
from support.programs import command, environment
from support.programs.run_one_offs import MODES, work
from support.waiting import until

__all__ = ["MODES", "OneOffs", "one_offs"]


class OneOffs:
    """Jobs named in a file when they begin and end, and the processes that run them."""

    def __init__(self, uri, stock, folder):
        self._uri, self._stock = uri, stock
        self.file = folder / "runs"
        self.file.touch()
        self._errors = folder / "errors"
        self.processes = []

    def add(self, count):
        """Add jobs that are due; return their ids."""
        jobs = [
            job(f"{n:05}", n / 1000, every=None, func=work, args=[f"{n:05}"]) for n in range(count)
        ]
        self._stock.collection.insert_many(
            {
                "_id": each.id,
                "next_run_time": each.next_run_time.timestamp(),
                "job_state": pickle.dumps(each.__getstate__()),
            }
            for each in jobs
        )
        return {each.id for each in jobs}

    def start(self, mode, **options):
        """Start a process with a scheduler."""
        database = self._stock.collection.database.name
        uri = f"{self._uri}&appName={database}-{len(self.processes)}"
        with self._errors.open("ab") as errors:
            process = subprocess.Popen(
                command("run_one_offs", uri, database, mode, self.file, json.dumps(options)),
                env=environment(),
                stdin=subprocess.PIPE,
                stderr=errors,
            )
        self.processes.append(process)
        return process

    def kill(self, process):
        """Kill a process, and wait until the server has done all commands that it had sent."""
        process.kill()
        process.wait()
        name = f"{self._stock.collection.database.name}-{self.processes.index(process)}"
        connections = [
            {"$currentOp": {"idleConnections": True}},
            {"$match": {"appName": name}},
        ]
        until(lambda: not list(self._stock.client.admin.aggregate(connections)))

    def _lines(self, what):
        text = self.file.read_text()
        complete = text[: text.rfind("\n") + 1]  # a process may be writing the last line
        lines = [line.split("\t") for line in complete.splitlines()]
        return [(job_id, int(pid)) for event, job_id, pid in lines if event == what]

    def begun(self):
        """Return (job id, process id) of each run, in the order in which they began."""
        return self._lines("begun")

    def ended(self):
        """Return (job id, process id) of each run, in the order in which they ended."""
        return self._lines("ended")

    def stored(self):
        """Return the ids of the jobs in the database."""
        return set(self._stock.collection.distinct("_id"))


@pytest.fixture
def one_offs(server, stock, tmp_path):
    """Return jobs without processes; kill their processes at the end of the test."""
    one_offs = OneOffs(server.uri, stock, tmp_path)
    yield one_offs
    for process in one_offs.processes:
        process.kill()
        process.communicate()

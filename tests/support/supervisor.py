"""Supervises a scheduler's process, as systemd does."""

import json
import subprocess
from collections import Counter

from support.programs import command, environment
from support.restarts import MODES

SUPERVISED = {**MODES, "standby": {"others": "wait", "lease": 1}}
PATIENCE = 120  # seconds until a test that hangs fails
MAX_STARTS = 8


class Supervisor:
    """Restarts a scheduler's process whenever a job has ended it."""

    def __init__(self, uri, database, file, mode, executor):
        self.file = file
        options = {"file": str(file), "store": SUPERVISED[mode], "executor": executor}
        self._command = command("run_lethal_jobs", uri, database, json.dumps(options))
        self.starts = 0

    def run(self):
        """Restart the process until it exits with 0. Return how often each job was submitted."""
        while self.starts < MAX_STARTS:
            code = self.start().wait(PATIENCE)
            if code == 0:
                return self.submitted()
            assert code == 3
        raise AssertionError(f"{self.starts} starts: {self.submitted()}")

    def start(self):
        self.starts += 1
        return subprocess.Popen(self._command, env=environment())

    def submitted(self):
        return Counter(self.file.read_text().split())

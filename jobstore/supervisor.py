"""Runs servers for a process, and ends them when that process ends, whatever ended it.

This file is both halves: `Supervisor` is used by the process that wants the servers; `serve` runs
in a process of its own, which starts them. Requests and answers are lines of JSON in two pipes.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Supervisor"]

LOOK_SECONDS = 0.2
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Supervisor:
    """Servers that end with this process, and a folder that goes with them.

    A forked child has a copy of this object, but the servers are its parent's: in the child,
    `end` does nothing, and all else is refused.

    :ivar folder: where the servers may keep their data; new and empty at first.
    """

    def __init__(self, prefix: str) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self._owner), prefix],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C and a closed terminal are not for it, nor for servers
        )
        self.folder = Path(self._answer())

    def start(self, command: list[str], log: Path) -> int:
        """Start a server, whose output goes to the log, and return its process's number."""
        pid: int = self._ask("start", command, str(log))
        return pid

    def runs(self, pid: int) -> bool:
        """Return whether a server is running."""
        running: bool = self._ask("runs", pid)
        return running

    def kill(self, pid: int) -> None:
        """End a server at once, and wait until it has ended."""
        self._ask("kill", pid)

    def end(self) -> None:
        """End all servers at once, remove the folder, and wait until it is gone."""
        if os.getpid() == self._owner:
            with self._process, suppress(BrokenPipeError):
                self._send("end")
            shutil.rmtree(self.folder, ignore_errors=True)  # should that process have been killed

    def _ask(self, *request: Any) -> Any:
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"process {os.getpid()} can't start or end a server of process {self._owner}: "
                "call mongod() after the fork"
            )
        with self._lock:
            with suppress(BrokenPipeError):  # then there is no answer
                self._send(*request)
            return self._answer()

    def _send(self, *request: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"process {self._process.pid}, which ran the servers, has ended, and they with it"
            )
        answer, error = json.loads(line)
        if error:
            raise RuntimeError(error)
        return answer


def serve(owner: int, prefix: str) -> None:
    """Start and end servers as requested, until the owner says so or is gone."""
    servers: dict[int, subprocess.Popen[bytes]] = {}
    folder = tempfile.mkdtemp(prefix=prefix)
    requests = open(0, "rb", buffering=0)  # noqa: SIM115  # select() sees no buffer

    def start(command: list[str], log: str) -> int:
        with open(log, "ab") as output:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent(),
            )
        servers[server.pid] = server
        return server.pid

    def runs(pid: int) -> bool:
        return servers[pid].poll() is None

    def kill(pid: int) -> None:
        servers[pid].kill()
        servers[pid].wait()

    does: dict[str, Callable[..., int | bool | None]] = {"start": start, "runs": runs, "kill": kill}
    try:
        print(json.dumps([folder, None]), flush=True)
        # The pipe's end alone doesn't tell: a forked child of the owner may hold it open.
        while os.getppid() == owner:
            if not select.select([requests], [], [], LOOK_SECONDS)[0]:
                continue
            line = requests.readline()
            name, *arguments = json.loads(line or '["end"]')
            if name == "end":
                break
            answer = error = None
            try:
                answer = does[name](*arguments)
            except OSError as failure:
                error = str(failure)
            print(json.dumps([answer, error]), flush=True)
    finally:
        for pid in servers:
            kill(pid)
        shutil.rmtree(folder, ignore_errors=True)


def end_with_parent() -> Any:
    """Return what lets a server end with `serve`'s process, should that be killed; Linux has it."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def stay(number: int, frame: object) -> None:
    """Handle a signal: the servers end with their owner, which may have got it too."""


if __name__ == "__main__":
    for each in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
        signal.signal(each, stay)  # handled, not ignored: servers would inherit that
    serve(int(sys.argv[1]), sys.argv[2])

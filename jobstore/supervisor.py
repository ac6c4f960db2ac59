"""Runs servers for a process, and ends them when that process ends, even by ``kill -9``.

This file has both halves. The process that wants servers uses `Supervisor`; `serve` runs in a
separate process and starts them. Requests and answers are lines of JSON in two pipes.
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
from typing import Any, Literal

__all__ = ["Supervisor"]

LOOK_SECONDS = 0.2
PR_SET_PDEATHSIG = 1  # linux/prctl.h

Request = Literal["start", "runs", "kill"]


class Supervisor:
    """Servers that end with this process, and a folder that is removed with them.

    A forked child has a copy of this object, but the servers belong to its parent. In the child
    `end` does nothing, and the other methods raise.

    :ivar folder: a new, empty folder for the servers' data.
    """

    def __init__(self, prefix: str) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self._owner), prefix],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # keeps Ctrl-C and a closed terminal from it and its servers
        )
        self.folder = Path(self._answer())

    def start(self, command: list[str], log: Path) -> int:
        """Start a server, append its output to the log, and return its process id."""
        pid: int = self._ask("start", command, str(log))
        return pid

    def runs(self, pid: int) -> bool:
        """Return whether a server runs."""
        running: bool = self._ask("runs", pid)
        return running

    def kill(self, pid: int) -> None:
        """Kill a server, and wait until it has ended."""
        self._ask("kill", pid)

    def end(self) -> None:
        """Kill all servers, remove the folder, and wait for both."""
        if os.getpid() == self._owner:
            with self._process, suppress(BrokenPipeError):
                self._send("end")
            shutil.rmtree(self.folder, ignore_errors=True)  # if somebody killed that process

    def _ask(self, name: Request, *arguments: str | int | list[str]) -> Any:
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"process {os.getpid()} can't start or end a server of process {self._owner}: "
                "call mongod() after the fork"
            )
        with self._lock:
            with suppress(BrokenPipeError):  # then `_answer` raises
                self._send(name, *arguments)
            return self._answer()

    def _send(self, *request: str | int | list[str]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"process {self._process.pid}, which ran the servers, has ended, "
                "and the servers have ended with it"
            )
        answer, error = json.loads(line)
        if error:
            raise RuntimeError(error)
        return answer


def serve(owner: int, prefix: str) -> None:
    """Start and kill servers on request, until the owner asks for the end or is gone."""
    servers: dict[int, subprocess.Popen[bytes]] = {}
    folder = tempfile.mkdtemp(prefix=prefix)
    requests = open(0, "rb", buffering=0)  # noqa: SIM115  # unbuffered, for select()

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
        # The pipe may stay open after the owner's end: a forked child of the owner may hold it.
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


def end_with_parent() -> Callable[[], object] | None:
    """Return a `preexec_fn` that makes Linux kill a server when `serve`'s process is killed."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def stay(number: int, frame: object) -> None:
    """Ignore a signal: the owner may have got it, too, and decides when the servers end."""


if __name__ == "__main__":
    for each in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
        signal.signal(each, stay)  # not SIG_IGN: the servers would inherit that
    serve(int(sys.argv[1]), sys.argv[2])

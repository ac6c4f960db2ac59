"""A test server ends with the process that started it, even if a signal kills the process."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobstore.testing import mongod
from support.processes import is_gone, stat_of, wait_until
from support.programs import command, environment


@contextmanager
def child(way):
    """Start a process with servers, and yield the process and its output about them."""
    with subprocess.Popen(
        command("start_servers", way), env=environment(), stdout=subprocess.PIPE
    ) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def assert_nothing_is_left(known):
    assert all(is_gone(pid) for pid in known["pids"])
    assert wait_until(lambda: not any(Path(folder).exists() for folder in known["folders"]))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_server_ends_with_a_process_that_a_signal_ends(number):
    with child("standalone") as (process, known):
        process.send_signal(number)
        assert process.wait() == -number
        assert_nothing_is_left(known)


def test_server_ends_with_a_process_that_exits_inside_the_block():
    with child("exits") as (process, known):
        assert process.wait() == 0
        assert_nothing_is_left(known)


@pytest.mark.parametrize("way", ["three nodes", "nested", "frozen", "killed"])
def test_all_servers_and_folders_of_a_killed_process_are_removed(way):
    with child(way) as (process, known):
        process.kill()
        assert_nothing_is_left(known)


@pytest.mark.parametrize("way", ["forked", "multiprocessing"])
def test_server_ends_although_a_forked_child_lives_longer(way):
    with child(way) as (process, known):
        try:
            process.kill()
            assert_nothing_is_left(known)
            assert not is_gone(known["child"], seconds=0)
        finally:
            os.kill(known["child"], signal.SIGKILL)


def test_forked_child_can_not_end_the_server():
    with child("fork leaves the block") as (process, known):
        assert known["pids"]  # the parent has used the server after the child's attempts
        process.kill()
        assert_nothing_is_left(known)


def test_server_ends_with_its_supervisor_and_the_next_start_raises():
    with mongod(standalone=True) as server:
        (node,) = server.nodes
        _, supervisor = stat_of(node.pid)
        os.kill(supervisor, signal.SIGKILL)
        assert is_gone(node.pid)
        with pytest.raises(RuntimeError, match=f"process {supervisor}, .* has ended"):
            server.start()
    assert not node.folder.exists()

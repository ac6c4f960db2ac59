"""A throw-away server ends with the process that started it, whatever ends that."""

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
    """A process that has servers; yields it, and what it says of them."""
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
def test_a_signal_that_ends_the_process_ends_its_server(number):
    with child("standalone") as (process, known):
        process.send_signal(number)
        assert process.wait() == -number
        assert_nothing_is_left(known)


def test_a_process_that_exits_inside_the_block_ends_its_server():
    with child("exits") as (process, known):
        assert process.wait() == 0
        assert_nothing_is_left(known)


@pytest.mark.parametrize("way", ["three nodes", "nested", "frozen", "killed"])
def test_all_servers_of_a_killed_process_end_and_their_folders_go(way):
    with child(way) as (process, known):
        process.kill()
        assert_nothing_is_left(known)


@pytest.mark.parametrize("way", ["forked", "multiprocessing"])
def test_a_forked_child_that_lives_longer_does_not_keep_the_server(way):
    with child(way) as (process, known):
        try:
            process.kill()
            assert_nothing_is_left(known)
            assert not is_gone(known["child"], seconds=0)
        finally:
            os.kill(known["child"], signal.SIGKILL)


def test_a_forked_child_can_neither_kill_the_server_nor_end_it_by_leaving_the_block():
    with child("fork leaves the block") as (process, known):
        assert known["pids"]  # its parent has used the server since
        process.kill()
        assert_nothing_is_left(known)


def test_a_server_ends_with_the_process_that_runs_it_and_an_error_says_so():
    with mongod(standalone=True) as server:
        (node,) = server.nodes
        _, supervisor = stat_of(node.pid)
        os.kill(supervisor, signal.SIGKILL)
        assert is_gone(node.pid)
        with pytest.raises(RuntimeError, match=f"process {supervisor}, .* has ended"):
            server.start()
    assert not node.folder.exists()

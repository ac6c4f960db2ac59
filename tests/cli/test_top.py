"""`top` in real terminals: its display, its keys and signals, and the terminal it leaves behind."""

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest

from support.presences import LATE, NONSENSE, plant, plant_nonsense
from support.processes import PATIENCE
from support.proxy import Proxy
from support.terminals import Terminal, on_terminal

from .conftest import PROGRAM, url_of

HOSTILE = "\x1b]0;title\x07\x1b[2J[red]\u202e\r\n\x9b31m"


@contextmanager
def top(target, width=80, **options):
    """Run `top` on a terminal, until it has drawn its first screen."""
    with on_terminal([*PROGRAM, "top", target], width, **options) as terminal:
        before = terminal.settings
        terminal.wait_for("quit")
        yield terminal
        assert is_restored(terminal, before), terminal.text[-300:]


def is_restored(terminal, before):
    is_left = terminal.has_cursor and terminal.is_main_screen
    return is_left and terminal.settings == before and "Traceback" not in terminal.text


def test_display_of_80_columns_has_the_most_important_columns(target, busy):
    with top(target) as terminal:
        assert not terminal.has_cursor
        assert not terminal.is_main_screen
        terminal.press("q")
        assert terminal.end() == 0
    title, rates, jobs, empty, head, *rows = terminal.screen
    assert title.startswith(f"{busy.collection.full_name} ")
    assert title.endswith(" UTC    q: quit")
    assert len(title) == 80
    assert rates == "- jobs/s   lateness p50 -, p99 -"
    assert re.fullmatch(r"29 overdue, the oldest by \d+d   1 in quarantine   0 leased", jobs)
    assert empty == ""
    assert head.split() == ["SCHEDULER", "STATE", "JOBS/S", "P99", "P50", "MODE", "SEEN", "CYCLE"]
    assert [row.split()[:2] for row in rows] == [
        ["web-0.example.com:4711", "firing"],
        ["web-1.example.com:4711", "firing"],
        ["web-2.example.com:4711", "gone"],
    ]
    assert rows[0].split()[2:6] == ["-", "-", "-", "shared"]
    assert rows[0].split()[-1] == "12ms"
    assert rows[2].split()[-2:] == ["1m", "-"]


def test_display_of_200_columns_has_all_columns(target, busy):
    with top(target, 200) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    *_, head, first, _, gone = terminal.screen
    titles = re.split("  +", head)
    assert len(titles) == 17
    assert titles[8:12] == ["UNWRITTEN", "LAG", "LEASES LOST", "DOUBLES"]
    assert titles[-2:] == ["UP", "JOBSTORE"]
    cells = re.split("  +", first)
    assert cells[8:12] == ["7", "2s", "3", "0"]
    assert (cells[-2], cells[-1]) == ("59m", "0.1.0")
    assert "web-2.example.com:4711  gone" in gone
    assert max(map(len, terminal.screen)) <= 200


def test_display_of_40_columns_is_cropped(target, busy):
    with on_terminal([*PROGRAM, "top", target], 40) as terminal:
        terminal.wait_for("gone")
        terminal.press("q")
        assert terminal.end() == 0
    assert terminal.has_cursor
    assert max(map(len, terminal.screen)) <= 40


def test_rate_and_lateness_appear_with_the_second_presence(target, store):
    name = plant(store.collection, counters={"fired": 100, "lateness": LATE})
    with top(target) as terminal:
        seen = store._connection.meta.find_one({"_id": name})["seen"] + timedelta(seconds=5)
        counters = {"fired": 200, "lateness": [0, 99, 0, 0, 0, 0, 1, *[0] * 9]}
        update = {"$set": {"seen": seen, "counters": counters}}
        store._connection.meta.update_one({"_id": name}, update)
        terminal.wait_for("20 jobs/s")
        terminal.press("q")
        assert terminal.end() == 0
    assert terminal.screen[1] == "20 jobs/s   lateness p50 <10ms, p99 <10ms"
    assert terminal.screen[-1].split()[2:5] == ["20", "<10ms", "<10ms"]


def test_more_schedulers_than_lines_are_counted(target, store):
    for number in range(210):
        plant(store.collection, f"web-{number:03}")
    with top(target) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    assert len(terminal.screen) == 200
    assert re.fullmatch(r"and \d+ more", terminal.screen[-1])


def test_empty_collection_says_so(target):
    with top(target) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    assert terminal.screen[-1] == "no schedulers"
    assert "0 overdue   0 in quarantine   0 leased" in terminal.screen


def test_hostile_texts_are_escaped(target, store):
    texts = {"mode": HOSTILE, "versions": {"jobstore": HOSTILE}, "state": HOSTILE}
    plant(store.collection, HOSTILE, **texts)
    with top(target, 300) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    plain = re.sub(r"\x1b\[\??\d*(;\d+)*[mhlH]", "", terminal.text)
    assert all(each.isprintable() or each in "\r\n" for each in plain)
    assert "\\x1b[2J" in plain


def test_nonsense_in_the_presences_is_shown_as_none(target, store):
    plant_nonsense(store.collection)
    plant(store.collection, "zzz")
    with top(target, 200) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    assert sum("inner:4711" in line for line in terminal.screen) == 2 * len(NONSENSE)
    assert any(line.startswith("zzz:4711") for line in terminal.screen)


def test_terminal_without_unicode_gets_ascii(target, store, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    plant(store.collection, "a-very-long-name-of-a-host" * 3)
    with top(target) as terminal:
        terminal.press("q")
        assert terminal.end() == 0
    assert any("~" in line for line in terminal.screen)


@pytest.mark.parametrize("key", ["q", "Q", "xyzq"])
def test_q_ends_and_the_terminal_is_as_it_was(target, store, key):
    with top(target) as terminal:
        terminal.press(key)
        assert terminal.end() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_and_the_terminal_is_as_it_was(target, store, number, code):
    with top(target) as terminal:
        os.killpg(terminal.process.pid, number)
        assert terminal.end() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", [1000, 3000])
def test_signal_while_the_display_is_drawn_leaves_the_terminal_as_it_was(
    target, busy, number, moment
):
    """The signal comes after so many characters, wherever that is."""
    with on_terminal([*PROGRAM, "top", target], 200) as terminal:
        before = terminal.settings
        while len(terminal.text) < moment:
            terminal.read()
        os.killpg(terminal.process.pid, number)
        assert terminal.end() == 128 + number
        assert is_restored(terminal, before)


def test_resized_terminal_gets_the_columns_that_fit(target, busy):
    with top(target) as terminal:
        assert "JOBSTORE" not in terminal.text
        terminal.resize(200)
        terminal.wait_for("JOBSTORE")
        terminal.resize(80)
        length = len(terminal.text)
        while terminal.text.rfind("CYCLE\x1b") < length:  # the last column again
            terminal.read()
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["q", "SIGINT", "SIGTERM"])
def test_server_that_hangs_leaves_the_figures_and_the_keys(server, database, store, way):
    plant(store.collection)
    with Proxy(server.nodes[0].port) as proxy:
        target = url_of(proxy.uri, database.name)
        with top(target) as terminal:
            proxy.hold()
            terminal.wait_for("did not answer in time")
            assert terminal.process.poll() is None
            if way == "q":
                terminal.press("q")
                assert terminal.end() == 0
            else:
                number = signal.Signals[way]
                os.killpg(terminal.process.pid, number)
                assert terminal.end() == 128 + number
    assert any("web-1:4711" in line for line in terminal.screen)


@pytest.mark.slow
def test_server_that_comes_back_is_watched_again(server, database, store):
    with Proxy(server.nodes[0].port) as proxy:
        target = url_of(proxy.uri, database.name)
        with top(target) as terminal:
            proxy.hold()
            terminal.wait_for("did not answer in time")
            plant(store.collection, "new")
            proxy.release()
            terminal.wait_for("new:4711")
            terminal.press("q")
            assert terminal.end() == 0
    assert not any("did not answer" in line for line in terminal.screen)


def test_server_that_is_gone_at_the_start_is_an_error(store):
    with on_terminal([*PROGRAM, "top", "mongodb://127.0.0.1:1/a.b"]) as terminal:
        before = terminal.settings
        assert terminal.end() == 1
        assert is_restored(terminal, before)
    assert "no answer from the server" in terminal.text


@pytest.fixture
def shell(target, monkeypatch):
    """Return an interactive shell on a terminal that controls it, with `top` started."""
    monkeypatch.setenv("JOBSTORE_URL", target)
    monkeypatch.setenv("PS1", "prompt> ")
    pid, master = pty.fork()
    if not pid:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    terminal = Terminal(None, master, 80)
    terminal.resize(80)
    terminal.wait_for("prompt> ")
    terminal.press(f"{sys.executable} -m jobstore top\n")
    terminal.wait_for("q: quit")
    yield terminal
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(master)


def press_until_prompt(shell, key):
    """Press a key, and wait for the shell: keys for it may be lost before it reads them."""
    length = len(shell.text)
    shell.press(key)
    while shell.text.rfind("prompt> ") < length:
        shell.read()


@pytest.mark.slow
def test_ctrl_z_gives_the_terminal_back_and_fg_draws_again(shell, store):
    shell.press("\x1a")
    shell.wait_for(r"Stopped[^\n]*\n[^\n]*prompt> ")
    assert shell.has_cursor
    assert shell.is_main_screen
    length = len(shell.text)
    shell.press("fg\n")
    while shell.text.rfind("q: quit") < length:
        shell.read()
    assert not shell.is_main_screen
    press_until_prompt(shell, "q")
    assert shell.is_main_screen
    shell.press("echo code=$?\n")
    shell.wait_for("code=0")
    assert shell.has_cursor


def test_ctrl_c_on_the_keyboard_ends_with_code_130(shell, store):
    press_until_prompt(shell, "\x03")
    assert shell.is_main_screen
    shell.press("echo code=$?\n")
    shell.wait_for("code=130")
    assert shell.has_cursor


def test_without_a_keyboard_ctrl_c_is_named(target, store):
    with top(target, stdin=subprocess.DEVNULL) as terminal:
        assert "Ctrl-C: quit" in terminal.text
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130


def test_terminal_that_is_closed_ends_the_program(target, store):
    master, slave = pty.openpty()
    command = [*PROGRAM, "top", target]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        os.read(master, 10)
        os.close(master)
        assert process.wait(PATIENCE)


def test_no_terminal_is_an_error_that_names_the_option(run, store, monkeypatch, target):
    done = run("top")
    assert (done.code, done.out) == (2, "")
    assert done.err == ("jobstore: top needs a terminal that can move the cursor: use --json\n")
    monkeypatch.setenv("TERM", "dumb")
    with on_terminal([*PROGRAM, "top", target]) as terminal:
        assert terminal.end() == 2
    assert "\x1b" not in terminal.text

"""On a terminal: tables that fit, colours, signals; hostile texts; and output into a pipe."""

import os
import re
import signal
import subprocess

import pytest
from bson import ObjectId

from jobstore.cli.failures import PIPE_CLOSED
from support.damaged_documents import good
from support.jobs import at, job
from support.processes import PATIENCE
from support.proxy import Proxy
from support.terminals import on_terminal

from .conftest import PROGRAM, url_of

LONG = "a-very-long-id-that-no-terminal-of-eighty-columns-shows-in-full-" + 40 * "x"
HOSTILE = "\x1b]0;title\x07\x1b[2J[red]bold[/red]\u202e\r\n\x9b31m"
SHOWN = "\\x1b]0;title\\x07\\x1b[2J[red]bold[/red]\\u202e\\r\\n\\x9b31m"


@pytest.fixture
def filled(store):
    store.add_jobs([job(f"job{n}", n) for n in range(5)])
    store.add_job(job(LONG, 7, args=tuple(range(200))))
    store.add_job(job("東京の仕事" * 10, 8))
    store.add_job(job("paused", None))
    mark = {"reason": "LookupError: " + 30 * "gone ", "since": at(0), "next_run_time": 5.0}
    update = {"$set": {"quarantine": mark, "next_run_time": None}}
    store.collection.update_one({"_id": "job4"}, update)
    return store


@pytest.fixture
def on_screen(target, monkeypatch):
    """Return a function that runs a command on a terminal, and returns the terminal at its end."""
    monkeypatch.setenv("JOBSTORE_URL", target)

    def on_screen(*arguments, width=80, code=0, **options):
        with on_terminal([*PROGRAM, *arguments], width, **options) as terminal:
            assert terminal.end() == code, terminal.text
        assert terminal.has_cursor
        return terminal

    return on_screen


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("command", [["ls"], ["quarantine"], ["stats"]], ids=" ".join)
def test_no_line_of_a_table_is_wider_than_the_terminal(on_screen, filled, command, width):
    terminal = on_screen(*command, width=width, stderr=subprocess.DEVNULL)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.text)
    assert plain.count("\n") == len(terminal.screen)


def test_ls_shows_the_most_important_columns_at_80_and_all_at_200(on_screen, filled):
    head = on_screen("ls").screen[0]
    assert head.split() == ["ID", "NEXT", "RUN", "(UTC)", "STATE", "FUNCTION"]
    head, *rows = on_screen("ls", width=200).screen
    assert head.split()[-4:] == ["DUE", "TRIGGER", "EXECUTOR", "NAME"]
    assert rows[0].split()[:4] == ["job0", "2020-01-01", "00:00:00", "overdue"]
    assert [row.split()[0] for row in rows[:4]] == ["job0", "job1", "job2", "job3"]


def test_long_ids_are_shortened_and_columns_stay_in_line(on_screen, filled):
    head, *rows = on_screen("ls").screen
    place = head.index("NEXT RUN")
    assert any(row.startswith("a-very-long-id") and "…" in row for row in rows)
    times = [row[place : place + 19] for row in rows if "overdue" in row and row.isascii()]
    assert times
    assert all(re.fullmatch(r"2020-01-01 00:00:0\d", each) for each in times)


def test_end_of_a_page_names_the_key_of_the_next_one(on_screen, filled):
    *_, hint = "".join(on_screen("ls", "--limit", "2", width=200).screen).partition("For more: ")
    assert hint.startswith("--after '[1577836801.0, \"job1\"]'")
    assert "--after" not in on_screen("ls").text


def test_show_wraps_long_values_below_themselves(on_screen, filled):
    lines = on_screen("show", LONG).screen
    start = next(number for number, line in enumerate(lines) if line.startswith("args"))
    assert lines[start].startswith("args          (0, 1, 2,")
    assert lines[start + 1].startswith(" " * 14)


def test_stats_has_bars_as_long_as_the_counts(on_screen, filled):
    lines = on_screen("stats").screen
    bars = {line.split()[0]: line.count("█") for line in lines if "█" in line}
    assert bars["overdue"] > bars["paused"] == bars["quarantined"] > 0
    assert "no runs in the next hour" in lines


def test_terminal_without_unicode_gets_marks_of_ascii(on_screen, filled, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for colour in "", "1":
        monkeypatch.setenv("NO_COLOR", colour)
        assert any("a-very-long-id" in line and "~" in line for line in on_screen("ls").screen)
        assert any("####" in line for line in on_screen("stats").screen)


def test_empty_collection_says_so(on_screen, store):
    assert on_screen("ls").screen == ["no jobs"]
    assert on_screen("quarantine").screen == ["no jobs in quarantine"]


@pytest.mark.parametrize("command", [["ls"], ["show", "job1"], ["stats"], ["quarantine"]])
def test_colours_are_for_terminals_without_no_color(on_screen, filled, command, monkeypatch, run):
    assert "\x1b[" in on_screen(*command).text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_screen(*command).text
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in on_screen(*command).text
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in run(*command).out


@pytest.mark.parametrize("colour", [True, False])
def test_hostile_texts_are_escaped_everywhere(on_screen, store, run, colour, monkeypatch):
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    document = good(HOSTILE, args=(HOSTILE,), kwargs={"k": HOSTILE})
    document["about"] = {"func": HOSTILE, "executor": HOSTILE, "tags": [HOSTILE]}
    document["quarantine"] = {"reason": HOSTILE, "since": at(0), "next_run_time": 5.0}
    store.collection.insert_one(document | {"next_run_time": None})
    store.collection.insert_one({"_id": ObjectId(), "next_run_time": HOSTILE, "job_state": b"x"})
    for command in (["ls"], ["show", HOSTILE], ["stats"], ["quarantine"]):
        text = on_screen(*command, width=400, stderr=subprocess.DEVNULL).text
        plain = re.sub(r"\x1b\[(\d+(;\d+)*)?m", "", text).replace("\r\n", "\n")
        assert all(each.isprintable() or each == "\n" for each in plain), (command, plain)
        assert SHOWN in plain
        for output in (run(*command).out, run(*command, "--json").out):
            assert all(each.isprintable() or each in "\n\t" for each in output), command
    done = run("show", HOSTILE + "gone")
    assert done.code == 3
    assert all(each.isprintable() or each == "\n" for each in done.err)


def test_pipe_gets_complete_lines_whatever_the_width(filled, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    rows = run("ls").rows
    assert LONG in [row[0] for row in rows]
    assert {len(row) for row in rows} == {7}


def test_reader_that_closes_the_pipe_ends_the_command_quietly(store, target):
    store.add_jobs([job(f"{number}{'x' * 200}", number) for number in range(3000)])
    with subprocess.Popen(
        [*PROGRAM, "ls", target, "--limit", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"0x")
        process.stdout.close()
        assert process.wait(PATIENCE) == PIPE_CLOSED
        assert process.stderr.read() == b""


@pytest.fixture
def hanging(server, database, monkeypatch):
    """Return a command whose queries the server does not answer, and the proxy before it."""
    with Proxy(server.nodes[0].port) as proxy:
        for name in "find", "aggregate":
            proxy.fail(name, "hang", times=9)
        url = url_of(proxy.uri, database.name) + "&timeoutMS=600000"
        monkeypatch.setenv("JOBSTORE_URL", url)
        yield proxy


@pytest.mark.parametrize("command", ["ls", "stats"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_command_and_leaves_the_terminal_as_it_was(hanging, command, number, code):
    with on_terminal([*PROGRAM, command]) as terminal:
        while not hanging.held:
            assert terminal.process.poll() is None
        os.killpg(terminal.process.pid, number)
        assert terminal.end() == code
    assert "Traceback" not in terminal.text
    assert terminal.has_cursor


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_while_a_progress_bar_is_shown_brings_the_cursor_back(
    stock, server, database, monkeypatch, number, code
):
    for each in range(3):
        stock.add_job(job(f"{each}"))
    script = (
        "import sys, threading\n"
        "from jobstore.mongodb import MongoDBJobStore\n"
        "def statistics(store, progress):\n"
        "    progress(1, 3)\n    threading.Event().wait(600)\n"
        "MongoDBJobStore.statistics = statistics\n"
        "from jobstore.cli import main\nsys.exit(main())"
    )
    monkeypatch.setenv("JOBSTORE_URL", url_of(server.uri, database.name))
    with on_terminal([PROGRAM[0], "-c", script, "stats"]) as terminal:
        terminal.wait_for("1/3")
        assert not terminal.has_cursor
        os.killpg(terminal.process.pid, number)
        assert terminal.end() == code
    assert "Traceback" not in terminal.text
    assert terminal.has_cursor

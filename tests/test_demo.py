"""The demo as its users run it: in a process, with and without a terminal."""

import os
import re
import signal
import subprocess
import sys

import pytest

from jobstore import cli
from jobstore.demo.meters import Lateness, Timed
from support.processes import PATIENCE, children_of, is_gone
from support.terminals import VARIABLES, on_terminal

DEMO = [sys.executable, "-m", "jobstore", "demo"]
SMALL = [*DEMO, "--jobs", "200", "--interval", "1", "--seconds", "1"]
LONG = [*DEMO, "--jobs", "200", "--interval", "1", "--seconds", "600"]
RUNNING = r"\d+ of 600 s"
ROWS = [
    "jobs held",
    "time to add all, by add_job",
    "the store's share of it",
    "fired/s (200 due)",
    "lateness p50",
    "lateness p99",
    "store time per cycle",
    "jobs fired per cycle",
    "store time per job fired",
    "CPU time per job fired",
    "bytes per job",
]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def cells(text, label):
    (line,) = [line for line in text.splitlines() if line.strip().startswith(label)]
    return re.split(r" {2,}", line.strip().removeprefix(label).strip())


def test_demo_without_a_terminal_prints_only_the_table():
    done = subprocess.run(SMALL, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.split("\n")[0].strip() == "200 jobs, each every 1 s, for 1 s (finished)"
    assert re.search(r"jobstore +APScheduler +times\s", done.stdout)
    assert cells(done.stdout, "jobs held") == ["200", "200"]
    for label in ROWS:
        ours_and_stock = cells(done.stdout, label)[:2]
        assert len(ours_and_stock) == 2
        assert all(re.match(r"[\d,.]*[1-9]", cell) for cell in ours_and_stock), label


def test_demo_compares_the_mongodb_stores_on_its_own_server():
    command = [*SMALL, "--store", "mongodb"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mongodb store" in done.stdout
    assert cells(done.stdout, "jobs held") == ["200", "200"]
    for label in ROWS[:-1]:
        ours_and_stock = cells(done.stdout, label)[:2]
        assert len(ours_and_stock) == 2
        assert all(re.match(r"[\d,.]*[1-9]", cell) for cell in ours_and_stock), label
    assert cells(done.stdout, "bytes per job") == ["-", "-", "-"]


def test_demo_on_a_terminal_shows_both_sides_live_and_then_the_table():
    with on_terminal(SMALL) as terminal:
        assert terminal.end() == 0
    live, _, table = terminal.text.partition("(finished)")
    assert re.search(r"\(running\)", live)
    assert len(re.findall(r"\d of 1 s", live)) >= 2
    for label in "jobs held", "fired", "fired/s, now", "lateness p50, now", "lateness p99, now":
        assert label in live
    assert "store time per job, now" in live
    for label in ROWS:
        assert label in table


def test_ctrl_c_ends_both_processes_and_prints_the_partial_table():
    with on_terminal(LONG) as terminal:
        terminal.wait_for(RUNNING)
        (child,) = children_of(terminal.process.pid)
        os.killpg(terminal.process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
        assert terminal.end() == 130
        assert is_gone(child)
    _, _, table = terminal.text.partition("(interrupted)")
    assert "Traceback" not in terminal.text
    assert cells(table, "jobs held")[1] == "-"  # the stock side had not begun
    assert re.match(r"[\d,.]+ m?s", cells(table, "time to add all, by add_job")[0])


def test_repeated_ctrl_c_prints_no_traceback():
    with on_terminal(LONG) as terminal:
        terminal.wait_for(r"\(running\)")
        for _ in range(3):
            os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text


def test_sigterm_ends_both_processes_prints_the_partial_table_and_restores_the_cursor():
    with on_terminal(LONG) as terminal:
        terminal.wait_for(RUNNING)
        (child,) = children_of(terminal.process.pid)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        assert is_gone(child)
    _, _, table = terminal.text.partition("(interrupted)")
    assert "Traceback" not in terminal.text
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l") >= 0
    assert re.match(r"[\d,.]+ m?s", cells(table, "time to add all, by add_job")[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_server_ends_with_a_demo_that_a_signal_ends(number):
    with on_terminal([*LONG, "--store", "mongodb"]) as terminal:
        terminal.wait_for(RUNNING)
        children = children_of(terminal.process.pid)
        servers = [server for child in children for server in children_of(child)]
        assert servers
        terminal.process.send_signal(number)
        terminal.end()
        assert all(is_gone(pid) for pid in [*children, *servers])


def test_measured_process_ends_with_a_killed_demo():
    with on_terminal(LONG) as terminal:
        terminal.wait_for(RUNNING)
        (child,) = children_of(terminal.process.pid)
        terminal.process.kill()
        terminal.end()
        assert is_gone(child)


def test_failed_side_is_reported_with_its_error():
    program = (
        "from jobstore.demo.runner import KINDS, Demo, Plan; "
        "KINDS['no-such-store'] = KINDS['memory']; "  # a kind unknown to the other process
        "raise SystemExit(Demo(Plan('no-such-store', 10, 1, 1)).run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "(failed)" in done.stdout
    assert "the 'ours' side ended early, code 1:" in done.stderr
    assert "KeyError: 'no-such-store'" in done.stderr


def test_error_of_the_scheduler_ends_its_side():
    program = (
        "import sys\n"
        "from jobstore import MemoryJobStore\nfrom jobstore.demo import side as demo_side\n"
        "MemoryJobStore.get_next_run_time = lambda store: 1 / 0\n"
        'sys.argv = [\'\', \'{"store": "memory", "jobs": 9, "interval": 1, "seconds": 600}\','
        " 'ours']\n"
        "demo_side.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--jobs", "0"),
        ("--jobs", "-5"),
        ("--jobs", "1.5"),
        ("--jobs", "many"),
        ("--interval", "0"),
        ("--interval", "-1"),
        ("--interval", "nan"),
        ("--interval", "1e9"),
        ("--seconds", "0"),
        ("--seconds", "-3"),
        ("--seconds", "inf"),
        ("--seconds", "soon"),
        ("--store", "paper"),
    ],
)
def test_invalid_option_value_is_refused_by_name(option, value, capsys):
    assert cli.main(["demo", option, value]) == 2
    [message] = capsys.readouterr().err.splitlines()
    assert f"'{option}'" in message
    assert repr(value) in message


def test_help_names_every_option(capsys):
    assert cli.main(["demo", "--help"]) == 0
    text = capsys.readouterr().out
    for option in "--jobs", "--interval", "--seconds", "--store", "Ctrl-C", "100000":
        assert option in text


def test_lateness_gives_quantiles_within_two_percent():
    lateness, more = Lateness(), Lateness()
    assert lateness.quantile(0.5) is None
    for milliseconds in range(1, 1001):
        (lateness if milliseconds % 2 else more).add(milliseconds / 1000)
    lateness.merge(more)
    assert lateness.quantile(0.5) == pytest.approx(0.5, rel=0.02)
    assert lateness.quantile(0.99) == pytest.approx(0.99, rel=0.02)
    lateness.add(-1.0)  # the clock was set back
    assert lateness.quantile(0.0) < 0.001


def test_timed_method_also_counts_failed_calls():
    timed = Timed(int)
    assert timed("5") == 5
    with pytest.raises(ValueError, match="five"):
        timed("five")
    assert timed.calls == 2
    assert timed.seconds > 0

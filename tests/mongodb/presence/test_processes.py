"""Two schedulers that don't share their jobs, in processes that are killed, stopped, shut down."""

import json
import os
import signal
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MongoDBJobStore
from support.jobs import job
from support.programs import command, environment
from support.standbys import documents, expire, lease_of
from support.waiting import until

pytestmark = pytest.mark.slow

LEASE = 2  # seconds; all else waits for events
MODES = {"queried": {}, "mirrored": {"mirror": True}}
TWICE = "Every job runs twice"


class Process:
    """A scheduler process, and the lines that it has written."""

    def __init__(self, uri, database, file, options):
        self.file = file
        with open(f"{file}.log", "ab") as log:
            self.process = subprocess.Popen(
                command("stand_by", uri, database, str(file), json.dumps(options)),
                env=environment(),
                stderr=log,
            )

    def lines(self):
        """Return all complete lines; a process that was killed may have left an incomplete one."""
        text = self.file.read_text() if self.file.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def begun(self, line):
        return [each for each in self.lines() if each.startswith(line)]

    def runs(self, lines=None):
        """Return the job and the run time of all submissions."""
        fields = [each.split("\t") for each in (self.lines() if lines is None else lines)]
        return [(each[0], float(each[1])) for each in fields if len(each) == 3]

    def unwritten(self):
        """Return the runs of the cycle that was cut off: they may run again elsewhere."""
        lines = self.lines()
        last = max((n for n, line in enumerate(lines) if line == "cycle"), default=-1)
        return self.runs(lines[last + 1 :])

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        assert self.process.wait(120) == 0


@pytest.fixture
def run(server, database, tmp_path):
    """Return a function that starts a process, and kills the remaining ones at the end."""
    processes = []

    def run(**options):
        file = tmp_path / f"{len(processes)}"
        processes.append(Process(server.uri, database.name, file, options))
        return processes[-1]

    yield run
    for process in processes:
        process.signal(signal.SIGCONT) if process.process.poll() is None else None
        process.kill()


@pytest.fixture
def store(server, database):
    """Return a store that is not started, on jobs that run five times a second."""
    store = MongoDBJobStore(database.name, host=server.uri)
    start = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    trigger = IntervalTrigger(seconds=0.2, start_date=start, timezone="UTC")
    options = {"trigger": trigger, "next_run_time": start, "coalesce": False, "max_instances": 99}
    store.add_jobs([job(f"{n}", **options) for n in range(5)])
    yield store
    store.shutdown()


def fires(process, more=5):
    """Wait until the process has fired some more jobs."""
    before = len(process.runs())
    until(lambda: len(process.runs()) >= before + more)


def owner_and_standby(run, mode, lease=LEASE):
    """Start two processes; return the one that fires, and the one that waits."""
    options = {"others": "wait", "lease": lease, **MODES[mode]}
    owner = run(**options)
    fires(owner)
    standby = run(**options)
    until(lambda: standby.begun("started") and standby.begun("cycle"))
    assert standby.runs() == []
    return owner, standby


def taken_over_after(database, ended):
    """Return the seconds from the end of a lease to its takeover, by the server's clock."""
    return (lease_of(database)["since"] - ended["expires"]).total_seconds()


def in_both(first, second):
    """Return the runs that both have fired, but for those that a crash left unwritten."""
    return set(first.runs()) & set(second.runs()) - set(first.unwritten())


@pytest.mark.parametrize("mode", MODES)
def test_standby_takes_over_from_a_killed_owner_within_a_second_of_the_lease(
    run, store, database, mode, record_property
):
    owner, standby = owner_and_standby(run, mode)
    owner.kill()
    ended = lease_of(database)
    fires(standby)
    seconds = taken_over_after(database, ended)
    record_property("seconds_after_the_lease", seconds)
    print(f"{mode}: taken over {seconds:.3f} s after the end of the lease")
    assert 0 <= seconds <= 1
    assert in_both(owner, standby) == set()
    first_fired = min(float(each.split("\t")[2]) for each in standby.lines() if "\t" in each)
    print(f"{mode}: fired {first_fired - ended['expires'].timestamp():.3f} s after it")
    standby.end()


@pytest.mark.parametrize("mode", MODES)
def test_standby_takes_over_from_an_owner_that_stands_still_which_fires_no_more(
    run, store, database, mode
):
    owner, standby = owner_and_standby(run, mode)
    owner.signal(signal.SIGSTOP)
    ended = lease_of(database)
    fires(standby)
    seconds = taken_over_after(database, ended)
    print(f"{mode}: taken over {seconds:.3f} s after the end of the lease")
    assert 0 <= seconds <= 1
    cut_off, before = owner.unwritten(), owner.runs()
    owner.signal(signal.SIGCONT)
    until(lambda: owner.begun("error\tNo job"))
    fires(standby, 20)
    # The job that was just submitted when the process was stopped may be reported late.
    assert len(owner.runs()) <= len(before) + 1
    assert set(owner.runs()) & set(standby.runs()) <= {*cut_off, *owner.runs()[len(before) :]}
    assert len(owner.begun("error\tNo job")) == 1, "one line for one loss"
    standby.end()
    fires(owner)
    owner.end()


@pytest.mark.parametrize("mode", MODES)
def test_owner_that_stood_still_in_mid_cycle_does_not_fire_the_rest_under_its_next_lease(
    run, store, mode
):
    options = {"others": "wait", "lease": LEASE, **MODES[mode]}
    owner = run(**options, stop_after=12)
    until(lambda: owner.begun("stopped"))
    cut_off = owner.unwritten()
    standby = run(**options)
    fires(standby, 20)
    standby.end()
    owner.signal(signal.SIGCONT)
    fires(owner, 20)
    assert set(owner.runs()) & set(standby.runs()) <= set(cut_off)
    assert len(owner.runs()) == len(set(owner.runs()))
    assert len(owner.begun("error\tNo job")) == 1
    owner.end()


@pytest.mark.parametrize("mode", MODES)
def test_standby_takes_over_at_once_after_a_clean_shutdown(run, store, database, mode):
    owner, standby = owner_and_standby(run, mode, lease=3600)
    owner.end()
    last = max(float(each.split("\t")[2]) for each in owner.lines() if each.count("\t") == 2)
    fires(standby)
    first = min(float(each.split("\t")[2]) for each in standby.lines() if each.count("\t") == 2)
    print(f"{mode}: fired {first - last:.3f} s after the owner's last job")
    assert set(owner.runs()) & set(standby.runs()) == set()
    assert not [
        each
        for each in standby.file.with_suffix(".log").read_text().splitlines()
        if "ended without a shutdown" in each
    ]
    standby.end()
    assert documents(database) == []
    assert lease_of(database) is None


@pytest.mark.parametrize("mode", MODES)
def test_unshared_schedulers_warn_and_fire_all_jobs_twice(run, store, mode):
    first, second = run(**MODES[mode]), run(**MODES[mode])
    for process, other in ((first, second), (second, first)):
        until(lambda process=process: [each for each in process.begun("error") if TWICE in each])
        (line, *_) = [each for each in process.begun("error") if TWICE in each]
        assert f":{other.process.pid} (" in line
    fires(first)
    fires(second)
    until(lambda: set(first.runs()) & set(second.runs()))
    first.end()
    second.end()


@pytest.mark.parametrize("mode", MODES)
def test_start_is_refused_beside_another_and_until_a_killed_one_has_expired(
    run, store, database, mode
):
    options = {"others": "refuse", **MODES[mode]}
    owner = run(**options)
    fires(owner)
    refused = run(**options)
    until(lambda: refused.begun("refused"))
    assert f":{owner.process.pid} (" in refused.begun("refused")[0]
    assert refused.process.wait(60) == 0
    owner.kill()
    still_refused = run(**options)
    until(lambda: still_refused.begun("refused"))
    expire(database)
    successor = run(**options)
    fires(successor)
    assert in_both(owner, successor) == set()
    assert refused.runs() == still_refused.runs() == []
    successor.end()


def test_of_three_processes_exactly_one_fires_while_they_are_killed(run, store, database):
    options = {"others": "wait", "lease": LEASE}
    alive = [run(**options) for _ in range(3)]
    everyone = list(alive)
    for _ in range(3):
        until(lambda: lease_of(database))
        until(lambda: [each for each in alive if each.runs()])
        (owner,) = [each for each in alive if each.runs()]
        fires(owner)
        owner.kill()
        alive.remove(owner)
        alive.append(run(**options))
        everyone.append(alive[-1])
    fired = [{*each.runs()} - {*each.unwritten()} for each in everyone]
    assert sum(map(len, fired)) == len(set().union(*fired)), "no run by two processes"

"""Runs a scheduler until its process is killed or exits in mid-cycle.

Usage: ``python run_until_killed.py URI DATABASE END``.

For each submission the process writes a line ``job id<TAB>run time<TAB>...`` to standard output,
before the scheduler continues. END is one of:

- a number: the process kills itself in the cycle after so many submissions, or never for 0.
- "exit": the process calls `sys.exit` in mid-cycle.
- "fork": the process forks in mid-cycle. The child exits, and then the parent kills itself.
"""

import os
import signal
import sys

from jobstore import MongoDBJobStore
from jobstore.mongodb.writes import write_behind
from support.jobs import at
from support.manual_scheduler import by_hand


def main(uri, database, end):
    store = MongoDBJobStore(database, host=uri)

    def report(job):
        job_id, run_times = scheduler.executor.submitted[-1]
        line = "\t".join([job_id, *(str(time.timestamp()) for time in run_times)])
        os.write(1, line.encode() + b"\n")
        if len(scheduler.executor.submitted) == int(end):
            os.kill(os.getpid(), signal.SIGKILL)

    scheduler = by_hand(store, report)
    if end.isdigit():
        while scheduler._process_jobs() < 1:
            pass
        return
    write_behind.FLUSH_SECONDS = 3600.0  # no timer writes, however slow the machine is
    loop = iter(store.get_due_jobs(at(1)))
    due = next(loop)
    due.next_run_time = at(100)
    store.update_job(due)
    if end == "fork" and os.fork() == 0:
        sys.exit()  # runs the exit handlers, which must not make the parent's write
    if end == "fork":
        os.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])

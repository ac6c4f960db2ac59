"""A scheduler in a process of its own, to be killed.

Arguments: URI DATABASE WHAT.

Each submission is a line on stdout, ``job id<TAB>run time<TAB>...``, written before the scheduler
goes on. WHAT: a number of submissions after which the process kills itself, in the cycle, 0 for
never; "exit" leaves in mid-cycle by `sys.exit`, "fork" by a forked child, which exits before its
parent.
"""

import os
import signal
import sys

from jobstore import MongoDBJobStore
from support.jobs import at
from support.manual_scheduler import by_hand


def main(uri, database, what):
    store = MongoDBJobStore(database, host=uri)

    def report(job):
        job_id, run_times = scheduler.executor.submitted[-1]
        line = "\t".join([job_id, *(str(time.timestamp()) for time in run_times)])
        os.write(1, line.encode() + b"\n")
        if len(scheduler.executor.submitted) == int(what):
            os.kill(os.getpid(), signal.SIGKILL)

    scheduler = by_hand(store, report)
    if what.isdigit():
        while scheduler._process_jobs() < 1:
            pass
        return
    loop = iter(store.get_due_jobs(at(1)))
    due = next(loop)
    due.next_run_time = at(100)
    store.update_job(due)
    if what == "fork" and os.fork() == 0:
        sys.exit()  # runs what is registered for the exit: the parent's write is not its to make
    if what == "fork":
        os.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])

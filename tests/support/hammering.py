"""Threads that call without a pause, to meet each other in the middle of a call."""

import threading

from support.threads import run_interleaved


def hammer(*calls, rounds):
    """Make each of the calls `rounds` times in a thread of its own, all at once.

    The first error of a thread ends that thread, and is raised here.
    """
    errors = []
    barrier = threading.Barrier(len(calls))

    def repeat(call):
        barrier.wait()
        try:
            for number in range(rounds):
                call(number)
        except BaseException as error:
            errors.append(error)

    run_interleaved([threading.Thread(target=repeat, args=[call]) for call in calls], 1e-5)
    if errors:
        raise errors[0]

"""Threads that take turns far more often than usual."""

import sys


def run_interleaved(threads, seconds):
    """Start the threads, and wait for their ends.

    :param seconds: the switch interval meanwhile, after which another thread may take its turn.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

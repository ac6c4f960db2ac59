"""Who calls a store: the scheduler's cycle itself, or a listener or a job that runs within it."""

import sys

__all__ = ["is_cycle"]

PASSED = {"update_job", "remove_job"}  # of the store, its subclasses, and the scheduler


def is_cycle() -> bool:
    """Whether the calling store's method was called by a scheduler's cycle itself.

    A call tells nothing of its caller, but the stack does. It can't be mistaken about threads, nor
    about a listener that calls the same method within the cycle. Only what would fail is worth the
    look, so a cycle doesn't pay for it.
    """
    frame = sys._getframe(1)
    while frame.f_code.co_name in PASSED and frame.f_back:
        frame = frame.f_back
    return frame.f_code.co_name == "_process_jobs"

"""A monotonic clock that a test sets by hand."""


class HandSetClock:
    """Stands in for the module `time` in a module that asks only for `monotonic()`."""

    def __init__(self, now=1000.0):
        self.now = now

    def monotonic(self):
        return self.now


def set_by_hand(monkeypatch, module, now=1000.0):
    """Give a module such a clock, and return the clock."""
    clock = HandSetClock(now)
    monkeypatch.setattr(module, "time", clock)
    return clock

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


class SchedulerClock:
    """The clock of all schedulers, which a test sets by hand; nothing else gets this time.

    :ivar now: an aware datetime.
    """

    def __init__(self, monkeypatch, now):
        self.now = now
        monkeypatch.setattr("apscheduler.schedulers.base.datetime", _Datetime(self))


class _Datetime:
    """Stands in for the class `datetime` in the schedulers' module, which asks only for `now`."""

    def __init__(self, clock):
        self._clock = clock

    def now(self, zone):
        return self._clock.now.astimezone(zone)

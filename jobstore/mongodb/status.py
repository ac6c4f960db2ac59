"""The status that a store reports."""

from typing import NamedTuple

__all__ = ["Status"]


class Status(NamedTuple):
    """Tells whether a store fires jobs, reaches its server, and how far its work is behind.

    After a server is gone, `connected` changes when the next command has failed, in up to 5 s.
    `lag` grows at once. The values from the database are those of the last look, at most 5 s old
    while the server answers. They are None once that look is 30 s old, and after `shutdown`.
    Numbers without another sense count from when the store was made.

    :ivar connected: whether the server did as asked by the last flush, the last cycle, the last
        look at the collection, and the last command of the watcher, if there is one. True before
        them. False after `shutdown`.
    :ivar pending: the number of jobs whose deferred writes are not acknowledged.
    :ivar oldest: the age of the oldest of these writes, in seconds; None if there are none.
    :ivar lag: the longest time, in seconds, by which the mirror and the wake-ups may be behind the
        server. None without a watcher, and before its first answer.
    :ivar firing: whether this store may fire jobs now. False on a hot standby, while the scheduler
        is paused, and without a running scheduler.
    :ivar others: the other schedulers that fire the same jobs without sharing them, by name.
        None if the store can't see them, as its user may not write to ``<jobs>_meta``.
    :ivar since_cycle: the seconds since the last cycle ended; None before.
    :ivar cycle: the seconds that the last cycle took; None before.
    :ivar expected: the seconds until the scheduler's next cycle; negative if that is late, and
        while a cycle lasts, since its begin. None if the scheduler waits for no job.
    :ivar fired: the number of jobs handed out.
    :ivar overdue: the number of jobs whose run time is over by more than 1 s, 10,000 at most; None
        before the first look.
    :ivar oldest_overdue: the seconds since the earliest of their run times; None if there are none.
    :ivar quarantined: the number of jobs in quarantine, 10,000 at most; None before the first look.
    :ivar flush_failures: the number of flushes that failed.
    :ivar flush_failures_in_a_row: the number of flushes that have failed since the last success.
    :ivar guards_lost: the number of writes that lost to a change by another process.
    :ivar claims_lost: the number of claims on single jobs that other schedulers won.
    :ivar leases_lost: the number of claimed jobs whose lease ended before they were fired.
    :ivar since_lease_lost: the seconds since the last of them; None if there was none.
    :ivar doubles: the number of runs of which it is known that another scheduler ran them, too.
    :ivar since_double: the seconds since the last of them was noticed; None if there was none.
    :ivar missing_indexes: the fields whose indexes are missing; None before the first look.
    :ivar needed_pool: the `maxPoolSize` that the stores of the client need, if it is smaller; else
        None.
    :ivar dropped: the number of records of the history that were dropped, as its buffer was full.
    :ivar since_dropped: the seconds since the last of them; None if there was none.
    :ivar poll: the seconds between two polls for changes by other processes; None with a change
        stream, and without a watcher.
    :ivar paused: whether the scheduler is paused, and fires no job until it is resumed.
    :ivar failing: the seconds for which the scheduler's cycles have failed in a row; None if the
        last one succeeded. On a hot standby, whose cycles send no command, those for which its
        looks at the collection have failed.
    """

    connected: bool
    pending: int
    oldest: float | None
    lag: float | None
    firing: bool = True
    others: tuple[str, ...] | None = ()
    since_cycle: float | None = None
    cycle: float | None = None
    expected: float | None = None
    fired: int = 0
    overdue: int | None = None
    oldest_overdue: float | None = None
    quarantined: int | None = None
    flush_failures: int = 0
    flush_failures_in_a_row: int = 0
    guards_lost: int = 0
    claims_lost: int = 0
    leases_lost: int = 0
    since_lease_lost: float | None = None
    doubles: int = 0
    since_double: float | None = None
    missing_indexes: tuple[str, ...] | None = None
    needed_pool: int | None = None
    dropped: int = 0
    since_dropped: float | None = None
    poll: float | None = None
    paused: bool = False
    failing: float | None = None

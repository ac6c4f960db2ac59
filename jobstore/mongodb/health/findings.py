"""The findings about one store, from its status alone: each rule is a function of the status."""

from collections.abc import Callable, Sequence

from ..status import Status
from .facts import plural
from .finding import LEVELS, Finding, Level

__all__ = ["NAMES", "OF_COLLECTION", "OF_SCHEDULERS", "findings", "worst"]

LATE_CYCLE = 5.0  # seconds after its time from which on a missing cycle is degraded ...
NO_CYCLE = 30.0  # ... and down
LONG_CYCLE = 10.0  # seconds: jobs that come due meanwhile are as late
OVERDUE = 30.0  # seconds that a due job may wait for its run
UNWRITTEN = 30.0  # seconds that a deferred write may wait for its flush
LAG = 30.0  # seconds that the mirror may be behind the server, beside the time between two polls
RECENT = 600.0  # seconds for which a double run, a lost lease or a dropped record is a finding

Rule = Callable[[Status], Finding]
STOPPED = {
    "cycle": Finding(
        "down",
        "cycle",
        "no scheduler runs with the store, so it fires no job",
        "Start the scheduler; the log says why it has ended, if it did",
    ),
    "standby": Finding("well", "standby", "the store may not fire jobs, as no scheduler runs"),
}


def findings(status: Status, runs: bool = True) -> list[Finding]:
    """Return one finding for each of `NAMES`, in their order; no command.

    :param runs: whether a scheduler runs with the store, also on a hot standby.
    """
    found = [rule(status) for rule in RULES.values()]
    return found if runs else [STOPPED.get(each.name, each) for each in found]


def worst(found: Sequence[Finding]) -> Level:
    """Return the worst level of findings."""
    return max((each.level for each in found), key=LEVELS.index, default="well")


def well(name: str, text: str) -> Finding:
    """Return a finding without advice."""
    return Finding("well", name, text)


def cycle(status: Status) -> Finding:
    """Judge whether the scheduler's cycles succeed, come in time, and how long they take."""
    if status.paused:
        return Finding(
            "down",
            "cycle",
            "the scheduler is paused, so it fires no job",
            "Call scheduler.resume()",
        )
    if status.failing is not None:
        return Finding(
            "down" if status.failing > NO_CYCLE else "degraded",
            "cycle",
            f"no job fires: the scheduler's cycles have failed for {status.failing:.0f} s",
            "See the error in the log, and whether MongoDB runs. The scheduler tries again",
        )
    late = -(status.expected or 0.0)
    if late > LATE_CYCLE:
        return Finding(
            "down" if late > NO_CYCLE and status.firing else "degraded",
            "cycle",
            f"the scheduler's cycle is late by {late:.0f} s, or lasts so long",
            "See where its thread hangs: a job that blocks the scheduler's thread or event loop, a "
            "server that does not answer",
        )
    if status.cycle is not None and status.cycle > LONG_CYCLE:
        return Finding(
            "degraded",
            "cycle",
            f"the last cycle took {status.cycle:.1f} s",
            "Look for a slow line to the server, for jobs that run in the scheduler's thread, and "
            "for missing indexes",
        )
    if status.since_cycle is None or status.cycle is None:
        return well("cycle", "no cycle has ended yet, and none is late")
    return well(
        "cycle", f"the last cycle ended {status.since_cycle:.1f} s ago, after {status.cycle:.3f} s"
    )


def connection(status: Status) -> Finding:
    """Judge whether the server answers."""
    if status.connected:
        return well("connection", "the server answers")
    return Finding(
        "degraded",
        "connection",
        "the server did not answer the last command, or refused it",
        "See whether MongoDB runs, and whether this host reaches it. The store tries again",
    )


def overdue(status: Status) -> Finding:
    """Judge how late the due jobs are."""
    if status.overdue is None:
        return well("overdue", "the store has not looked for overdue jobs, or its looks fail")
    if status.overdue and (status.oldest_overdue or 0.0) > OVERDUE:
        return Finding(
            "degraded",
            "overdue",
            f"{plural(status.overdue, 'job')} overdue, the oldest by {status.oldest_overdue:.0f} s",
            "See whether a scheduler has their executor, and whether the executors are full. More "
            "workers, or more schedulers with shared=True, run more jobs at a time",
        )
    return well("overdue", f"{plural(status.overdue, 'job')} overdue")


def others(status: Status) -> Finding:
    """Judge whether other schedulers fire the same jobs."""
    if status.others is None:
        return well("others", "the store can't see other schedulers: it may not write <jobs>_meta")
    if status.others:
        return Finding(
            "degraded",
            "others",
            f"every job runs twice: {', '.join(status.others)} fires the same jobs",
            'Set shared=True in all schedulers, or others="wait", or stop all but one',
        )
    return well("others", "no other scheduler fires the same jobs without sharing them")


def standby(status: Status) -> Finding:
    """Report whether the store is a hot standby."""
    if status.firing:
        return well("standby", "the store may fire jobs")
    if status.paused:
        return well("standby", "the store may not fire jobs, as its scheduler is paused")
    if not status.connected:
        return well(
            "standby", "the store may not fire jobs, and can't ask the server for the right"
        )
    return well("standby", "the store is a hot standby: another scheduler fires the jobs")


def flush(status: Status) -> Finding:
    """Judge whether the deferred writes reach the server."""
    row, age = status.flush_failures_in_a_row, status.oldest or 0.0
    if row or age > UNWRITTEN:
        return Finding(
            "degraded",
            "flush",
            f"the writes of {plural(status.pending, 'job')} wait, the oldest for {age:.0f} s, and "
            f"{row:,} flushes failed in a row",
            "See the log for the error. After a crash, these jobs run again",
        )
    return well("flush", f"the writes of {plural(status.pending, 'job')} wait")


def mirror(status: Status) -> Finding:
    """Judge how far the mirror and the wake-ups are behind the server."""
    if status.lag is not None and status.lag > LAG + (status.poll or 0.0):
        return Finding(
            "degraded",
            "mirror",
            f"changes by other processes may be unknown here for {status.lag:.0f} s",
            "See whether the server answers, and the log for errors of the change stream",
        )
    if status.lag is None:
        return well("mirror", "the store has no watcher, or its watcher has no answer yet")
    return well("mirror", f"the store is {status.lag:.1f} s behind the server at most")


def quarantine(status: Status) -> Finding:
    """Judge whether jobs are kept from running."""
    if status.quarantined:
        return Finding(
            "degraded",
            "quarantine",
            f"{plural(status.quarantined, 'job')} in quarantine, which no scheduler runs",
            "See the reasons with `jobstore quarantine`. Then restore or remove the jobs",
        )
    if status.quarantined is None:
        return well("quarantine", "the store has not looked into the quarantine, or can't")
    return well("quarantine", "no job is in quarantine")


def indexes(status: Status) -> Finding:
    """Judge whether the indexes of a cycle are there."""
    if status.missing_indexes:
        return Finding(
            "degraded",
            "indexes",
            f"no index on {', '.join(status.missing_indexes)}: each cycle reads the whole "
            "collection",
            "Start a scheduler whose user has the right createIndex",
        )
    if status.missing_indexes is None:
        return well("indexes", "the store has not looked for the indexes, or can't")
    return well("indexes", "no index is missing")


def pool(status: Status) -> Finding:
    """Judge whether the client's pool has enough connections."""
    if status.needed_pool is not None:
        return Finding(
            "degraded",
            "pool",
            "the client's pool is too small: changes by others are read 4 times a second",
            f"Make the client with maxPoolSize={status.needed_pool} or more",
        )
    return well("pool", "the client's pool is large enough")


def doubles(status: Status) -> Finding:
    """Judge whether runs were double."""
    since = status.since_double
    if since is not None and since <= RECENT:
        return Finding(
            "degraded",
            "doubles",
            f"{plural(status.doubles, 'double run')}, the last {since:.0f} s ago",
            "Look for a scheduler without shared=True, for leases that are too short, and for "
            "processes that stood still",
        )
    return well(
        "doubles", f"{plural(status.doubles, 'double run')} known, and none in the last ten minutes"
    )


def leases(status: Status) -> Finding:
    """Judge whether claimed jobs lost their leases."""
    since = status.since_lease_lost
    if since is not None and since <= RECENT:
        return Finding(
            "degraded",
            "leases",
            f"{plural(status.leases_lost, 'lease')} ended before the job was fired, the last "
            f"{since:.0f} s ago",
            "Use a longer lease or a smaller batch_size. See whether the process stands still",
        )
    return well(
        "leases",
        f"{plural(status.leases_lost, 'lease')} ended too early, and none in the last ten minutes",
    )


def history(status: Status) -> Finding:
    """Judge whether the history is complete."""
    since = status.since_dropped
    if since is not None and since <= RECENT:
        return Finding(
            "degraded",
            "history",
            f"{plural(status.dropped, 'record')} dropped, the last {since:.0f} s ago",
            'Use history="problems", or find why the server takes the records too slowly',
        )
    return well("history", f"{plural(status.dropped, 'record')} dropped, and none of late")


# By name, in the order of the findings. The first one says whether jobs fire at all.
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        cycle,
        connection,
        overdue,
        others,
        standby,
        flush,
        mirror,
        quarantine,
        indexes,
        pool,
        doubles,
        leases,
        history,
    )
}
NAMES = tuple(RULES)
OF_COLLECTION = ("overdue", "quarantine", "indexes")  # equal for all schedulers of a collection ...
OF_SCHEDULERS = ("others", "standby")  # ... and plain from the list of its schedulers

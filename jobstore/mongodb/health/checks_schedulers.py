"""The doctor's checks of the schedulers, by their presence."""

from collections import defaultdict
from collections.abc import Iterator

from ..pool import pool_of
from ..presence.scheduler import Scheduler
from .facts import Facts, is_silent, joined, plural
from .finding import Finding

__all__ = ["clocks", "others", "pool", "schedulers", "versions"]

CLOCK_SECONDS = 1.0  # APScheduler leaves out a run that is later, unless the job allows more


def schedulers(facts: Facts) -> Iterator[Finding]:
    """Name the schedulers that run."""
    if facts.schedulers:
        text = ", ".join(f"{each.name} ({each.mode}, {each.state})" for each in facts.schedulers)
        yield Finding("well", "schedulers", text)


def versions(facts: Facts) -> Iterator[Finding]:
    """Compare the versions of the schedulers, by their first two numbers."""
    found: dict[str, dict[str, list[Scheduler]]] = defaultdict(lambda: defaultdict(list))
    for scheduler in facts.schedulers:
        for name, version in scheduler.versions.items():
            found[name][".".join(str(version).split(".")[:2])].append(scheduler)
    for name, of in found.items():
        if len(of) > 1:
            text = ", ".join(f"{version} ({joined(those)})" for version, those in of.items())
            yield Finding(
                "degraded",
                "versions",
                f"the schedulers differ in {name}: {text}",
                "Finish the deployment: a job written by one version may not load in another",
            )


def others(facts: Facts) -> Iterator[Finding]:
    """Find schedulers that run the same jobs without sharing them."""
    # One that is silent may have crashed, and this one have taken its place.
    firing = [each for each in facts.firing if not is_silent(each)] or facts.firing[:1]
    alone = [each for each in firing if not each.shares]
    if alone and len(firing) > 1:
        yield Finding(
            "degraded",
            "others",
            f"{joined(firing)} fire the same jobs, and not all of them share: each job runs more "
            "than once",
            'Give all of them shared=True, or others="wait". Or stop all but one',
        )
    elif firing:
        yield Finding("well", "others", f"{plural(len(firing), 'scheduler')} may fire")
    elif not facts.is_blind:
        yield Finding(
            "down",
            "others",
            "no scheduler fires, by their presence",
            "Start a scheduler on this collection, with this version of jobstore or a later one",
        )


def clocks(facts: Facts) -> Iterator[Finding]:
    """Compare the clocks of the schedulers with the server's."""
    ahead = [(each, each.clock_ahead) for each in facts.schedulers if each.clock_ahead is not None]
    most = max((abs(seconds) for _, seconds in ahead), default=0.0)
    for scheduler, seconds in ahead:
        if abs(seconds) < CLOCK_SECONDS:
            continue
        early, behind = ("early", "ahead of") if seconds > 0 else ("late", "behind")
        yield Finding(
            "degraded",
            "clocks",
            f"the clock of {scheduler.name} is {abs(seconds):.1f} s {behind} the server's: its "
            f"jobs run {early} by as much",
            "Set the clocks of all machines by NTP",
        )
    if ahead and most < CLOCK_SECONDS:
        text = f"at most {most:.2f} s between the clock of a scheduler and the server's"
        yield Finding("well", "clocks", text)


def pool(facts: Facts) -> Iterator[Finding]:
    """Tell whose client has too few connections."""
    own = pool_of(facts.connection.client).needed_size
    needed = {"this client": own} if own else {}
    for scheduler in facts.schedulers:
        number = scheduler.status.get("needed_pool")
        if isinstance(number, int) and number:
            needed[f"the client of {scheduler.name}"] = number
    for whose, number in needed.items():
        yield Finding(
            "degraded",
            "pool",
            f"{whose} has too few connections: changes by others are read 4 times a second, not at "
            "once",
            f"Set maxPoolSize={number} or more",
        )
    if not needed:
        yield Finding("well", "pool", "no client is known to have too few connections")

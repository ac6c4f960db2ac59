"""The command `schedulers`: lists the schedulers that use a collection."""

from ..mongodb.presence.scheduler import Scheduler
from .as_json import to_json
from .options import Json, TargetUrl
from .output import Output, Part
from .printable import printable
from .scheduler_states import STYLES, state_of
from .table import Column, Table
from .target import open_store
from .times import absolute, iso

__all__ = ["schedulers"]

COLUMNS = [
    Column("SCHEDULER", 16),
    Column("STATE"),
    Column("MODE"),
    Column("SEEN", to_right=True),
    Column("FIRED", to_right=True),
    Column("STARTED (UTC)"),
    Column("OTHERS"),
    Column("JOBSTORE"),
    Column("APSCHEDULER"),
    Column("PYTHON"),
]
NEEDED = 4


def schedulers(target: TargetUrl = None, as_json: Json = False) -> None:
    """List the schedulers that use a collection, those that ended uncleanly, too.

    Their states: firing, paused, waiting on a hot standby, idle without a scheduler that asks for
    jobs, or gone. One that shuts down is removed at once, and one that is gone after a day.

    Into a pipe go the name, the state, the mode, the seconds since it was seen, the number of jobs
    fired, the time of its start, the argument others, the versions of jobstore, APScheduler and
    Python, and the id, between tabs.

    Examples:

    \b
      jobstore schedulers mongodb://localhost/apscheduler.jobs
      jobstore schedulers --json
    """
    with open_store(target) as (store, _):
        found = store.schedulers()
    output = Output()
    if as_json:
        for each in found:
            output.json({**to_json(each), "name": each.name})
    elif not output.is_terminal:
        for each in found:
            output.record([*cells(each, iso(each.started)), printable(each.id)])
    elif found:
        rows = [styled(cells(each, absolute(each.started))) for each in found]
        table = Table(COLUMNS, rows, output.width, NEEDED)
        table.write_head(output)
        table.write(output, rows)
    else:
        output.line("no schedulers")


def cells(scheduler: Scheduler, started: str) -> list[str]:
    """Return the cells of a scheduler, whose document anybody may have written."""
    age, versions = scheduler.age, scheduler.versions
    values = [
        scheduler.name,
        state_of(scheduler),
        scheduler.mode,
        None if age is None else f"{age:.0f}s",
        scheduler.counters.get("fired"),
        started,
        scheduler.others,
        *(versions.get(name) for name in ("jobstore", "apscheduler", "python")),
    ]
    return ["-" if each in (None, "") else printable(each) for each in values]


def styled(row: list[str]) -> list[Part]:
    """Return a row with a colour for its state."""
    name, state, *rest = row
    return [name, (state, STYLES.get(state, "")), *rest]

"""Why a job that is due now was not handed out yet."""

from datetime import datetime

from ..presence.scheduler import Scheduler
from .answer import Answer, Evidence, clock, length
from .causes import source_of

__all__ = ["due_now"]

SILENT = 10.0  # seconds; two beats of a presence


def due_now(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a job whose run time is over, but which is stored as due still."""
    job = known.job
    if job is None or job.next_run_time is None or not job.next_run_time <= at <= known.now:
        return None
    due_at = job.next_run_time
    late = (known.now - due_at).total_seconds()
    meta = f"{known.collection}_meta"
    begin = f"The job has been due since {clock(due_at)}, for {length(late)}"
    document = f"the job's document in {known.collection}"
    if known.schedulers is None:
        text = f"{begin}. Whether a scheduler runs can't be told: no right to read {meta}."
        return Answer("due", text, document, due_at)
    presence = f"the schedulers' presence in {meta}"
    living = [each for each in known.schedulers if each.alive]
    firing = [each for each in living if each.state == "firing"]
    if not firing:
        text = f"{begin}, and no scheduler runs that fires jobs"
        if standby := [each.name for each in living if each.state == "waiting"]:
            waits = "waits as a hot standby" if len(standby) == 1 else "wait as hot standbys"
            text += f"; {', '.join(standby[:5])} {waits}"
        if paused := [each.name for each in living if each.state == "paused"]:
            is_paused = "is paused" if len(paused) == 1 else "are paused"
            text += f"; {', '.join(paused[:5])} {is_paused}, until resume() is called"
        return Answer("no scheduler", f"{text}.", f"{presence}, and {document}", due_at)
    refused = [each for each in known.runs if each.kind == "refused"]
    if refused:
        text = f"{begin}, as no executor took it: {refused[-1].detail}."
        source = source_of(known, refused[-1])
        return Answer("refused", text, source, due_at, tuple(refused[-1:]))
    names = ", ".join(map(named, firing[:5]))
    if all(each.executors and job.executor not in each.executors for each in firing):
        text = f'{begin}: its executor "{job.executor}" is missing on {names}.'
        return Answer("refused", text, f"{presence}, and {document}", due_at)
    if job.lease and job.lease.until > known.now:
        text = f"{begin}. A scheduler has claimed it until {clock(job.lease.until)}."
        return Answer("due", text, document, due_at)
    fires = "fires" if len(firing) == 1 else "fire"
    text = f"{begin}. {names} {fires} jobs. The job waits, or runs now: a cycle writes at its end."
    return Answer("due", text, f"{document}, and {presence}", due_at)


def named(scheduler: Scheduler) -> str:
    """Return a scheduler's name, and when it was seen if it is late to show itself."""
    age = scheduler.age or 0.0
    return f"{scheduler.name} (last seen {age:.0f} s ago)" if age > SILENT else scheduler.name

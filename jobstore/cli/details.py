"""One job in full, for `show`."""

import textwrap
from collections.abc import Iterator
from datetime import datetime

from ..describe import JobInfo
from .output import Output
from .printable import printable
from .states import STYLES, state_of
from .times import absolute, relative

__all__ = ["LABEL", "wrapped", "write_details", "write_text"]

LABEL = 14  # the width of the labels


def write_details(job: JobInfo, now: datetime, output: Output) -> None:
    """Write a line for each property; on a terminal, long texts go on below themselves."""
    state = state_of(job, now)
    for label, value in details(job, now):
        text = printable(value)
        if not output.is_terminal:
            output.record([label, text])
            continue
        style = STYLES[state] if label == "state" else ""
        first, *others = wrapped(text, output.width - LABEL)
        output.line((f"{label:{LABEL}}", "bold"), (first, style))
        for each in others:
            output.line(" " * LABEL, each)


def write_text(text: str, output: Output) -> None:
    """Write a printable text; on a terminal, in lines that fit."""
    for line in wrapped(text, output.width) if output.is_terminal else [text]:
        output.line(line)


def wrapped(text: str, width: int) -> list[str]:
    """Split a text into lines; a long word, such as an id, stays whole, and can be copied."""
    width = max(width, 20)
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]


def details(job: JobInfo, now: datetime) -> Iterator[tuple[str, object]]:
    """Yield the labels and the values of a job's properties; those that it lacks are left out."""
    yield "id", job.id
    yield "state", state_of(job, now)
    if job.unreadable:
        yield "unreadable", job.unreadable
    if job.next_run_time:
        yield "next run", moment(job.next_run_time, now)
    if job.held:
        yield "held", f"was due {moment(job.held, now)}"
    if job.lease:
        yield "lease", f"until {moment(job.lease.until, now)}, token {job.lease.token}"
    if mark := job.quarantine:
        yield "quarantine", mark.reason
        if mark.since:
            yield "since", moment(mark.since, now)
        if mark.next_run_time:
            yield "was due", moment(mark.next_run_time, now)
    for label, value in (
        ("name", job.name),
        ("function", job.func),
        ("args", job.args),
        ("kwargs", job.kwargs),
        ("trigger", job.trigger),
        ("executor", job.executor),
    ):
        if value is not None:
            yield label, value
    if not job.unreadable:
        grace = job.misfire_grace_time
        yield "misfire grace", "unlimited" if grace is None else f"{grace} s"
        yield "coalesce", "yes" if job.coalesce else "no"
        yield "max instances", job.max_instances
    if job.tags:
        yield "tags", ", ".join(job.tags)
    if job.bytes is not None:
        yield "state size", f"{job.bytes:,} bytes"


def moment(time: datetime, now: datetime) -> str:
    """Return a time in UTC, and how far away it is."""
    return f"{absolute(time)} UTC ({relative(time, now)})"

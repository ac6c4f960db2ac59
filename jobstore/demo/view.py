"""The demo's live display, and its table at the end."""

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

from rich import box
from rich.table import Table

from .. import backend
from .plan import Plan, Sample, SideName
from .stores import KINDS

__all__ = ["State", "live_view", "result_table"]

CORE = {"c": "compiled", "python": "Python twin"}[backend]
NAMES: dict[SideName, str] = {"ours": f"jobstore\n({CORE})", "stock": "APScheduler\n(stock)"}
NONE = "-"

Number = float | None
State = Literal["running", "finished", "interrupted", "failed"]


def live_view(plan: Plan, pairs: dict[SideName, tuple[Sample, Sample]]) -> Table:
    """Return the display of a running demo.

    :param pairs: the last two samples of each side that has begun; "now" is the time between them.
    """
    table = _table(plan, "running")
    columns = [_live_column(plan, *pairs[side]) if side in pairs else [] for side in NAMES]
    labels = "", "jobs held", "fired", "fired/s, now", "lateness p50, now", "lateness p99, now"
    for row, label in enumerate((*labels, "store time per job, now")):
        table.add_row(label, *(column[row] if column else NONE for column in columns))
    return table


def _live_column(plan: Plan, before: Sample, sample: Sample) -> list[str]:
    phase: str = sample.phase
    if phase == "running":
        phase = f"{min(sample.elapsed, plan.seconds):.0f} of {plan.seconds:g} s"
    fired = sample.fired - before.fired
    return [
        phase,
        f"{sample.held:,}",
        f"{sample.fired:,}",
        _count(_ratio(fired, sample.elapsed - before.elapsed)),
        _time(sample.recent_p50),
        _time(sample.recent_p99),
        _time(_ratio(sample.store_seconds - before.store_seconds, fired)),
    ]


def result_table(plan: Plan, samples: dict[SideName, Sample], state: State) -> Table:
    """Return the table of both sides' figures, as far as they are known.

    :param state: how the demo ended, for the title.
    """
    table = _table(plan, state)
    table.add_column("times\nbetter", justify="right")
    for label, figure, form, better in ROWS:
        ours, stock = (figure(samples.get(side, Sample())) for side in NAMES)
        times = {"less": _ratio(stock, ours), "more": _ratio(ours, stock), "": None}[better]
        label = label.format(due=_count(plan.jobs / plan.interval))
        table.add_row(label, form(ours), form(stock), _count(times) if better else "")
    zone = next((sample.zone for sample in samples.values()), "not known")
    table.caption = _notes(zone) + KINDS[plan.store].note
    return table


def _table(plan: Plan, state: State) -> Table:
    title = f"{plan.jobs:,} jobs, each every {plan.interval:g} s, for {plan.seconds:g} s ({state})"
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left")
    table.add_column(f"{plan.store} store", min_width=28)
    for name in NAMES.values():
        table.add_column(name, justify="right", min_width=13)
    return table


def _notes(zone: str) -> str:
    return f"""\
Both sides: an unmodified BackgroundScheduler of APScheduler
{version("apscheduler")}, Python {platform.python_version()}, in its default time zone ({zone}),
in a process of its own. No run is skipped, however late.
Executor: the demo's own. It calls the jobs' empty function in the
scheduler's thread, and counts.
Lateness: from the scheduled time to the executor, of the jobs fired.
Where both sides keep up, chance decides which is lower.
Store time: wall time in the store's methods, with the cost of
measuring. A scheduler that falls behind has fewer, longer cycles:
compare the time per job.
CPU time: of the whole process, with the cost of measuring.
Bytes: the store's own memory, without the jobs themselves."""


def _ratio(over: Number, under: Number) -> Number:
    return over / under if over is not None and under else None


def _count(number: Number) -> str:
    if number is None:
        return NONE
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _time(seconds: Number) -> str:
    if seconds is None:
        return NONE
    if seconds >= 1:
        return f"{_count(seconds)} s"
    if seconds >= 1e-3:
        return f"{_count(seconds * 1e3)} ms"
    return f"{_count(seconds * 1e6)} µs"


# Label, figure, format, and whether less or more is better. Where the last is empty, a ratio would
# mean nothing. If both sides keep up, their lateness shows only the machine's hiccups. If a side
# falls behind, its lateness and its cycles grow with the length of the run.
Better = Literal["less", "more", ""]
ROWS: list[tuple[str, Callable[[Sample], Number], Callable[[Number], str], Better]] = [
    ("jobs held", lambda s: s.held or None, _count, ""),
    ("time to add all, by add_job", lambda s: s.add_seconds, _time, "less"),
    ("  the store's share of it", lambda s: s.add_store_seconds, _time, "less"),
    ("fired/s ({due} due)", lambda s: _ratio(s.fired, s.elapsed), _count, "more"),
    ("lateness p50", lambda s: s.late_p50, _time, ""),
    ("lateness p99", lambda s: s.late_p99, _time, ""),
    ("store time per cycle", lambda s: _ratio(s.store_seconds, s.cycles), _time, ""),
    ("  jobs fired per cycle", lambda s: _ratio(s.fired, s.cycles), _count, ""),
    ("store time per job fired", lambda s: _ratio(s.store_seconds, s.fired), _time, "less"),
    ("CPU time per job fired", lambda s: _ratio(s.cpu_seconds, s.fired), _time, "less"),
    ("bytes per job", lambda s: s.bytes_per_job, _count, "less"),
]

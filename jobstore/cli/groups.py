"""Jobs to be signed, grouped by function, so that a person can judge them.

Anybody may have written the jobs. So the number of groups is bounded, and so is each text.
"""

from collections import Counter
from collections.abc import Iterator

from ..inert.texts import cut
from ..mongodb import UnverifiedJob
from .details import LABEL, wrapped, write_text
from .ordinary import is_ordinary
from .output import Output
from .printable import printable

__all__ = ["Groups"]

MOST_GROUPS = 500
MOST_NAMES = 100  # in a group
MOST_REASONS = 10
LONGEST = 200  # characters of a name
OTHERS = "(more functions)"
MORE = "(and more)"
NAMED = 5  # documents that can't be signed


class Group:
    """The jobs of one function.

    :ivar example: one of them: the last one with a name that those before don't have.
    :ivar is_complete: whether all names are shown.
    """

    def __init__(self, func: str, example: UnverifiedJob) -> None:
        self.func = func
        self.example = example
        self.jobs = 0
        self.is_complete = True
        self.reasons: Counter[str] = Counter()
        self._names: set[str] = set()

    def add(self, job: UnverifiedJob) -> None:
        self.jobs += 1
        reason = job.reason
        if reason not in self.reasons and len(self.reasons) >= MOST_REASONS:
            reason = "other reasons"
        self.reasons[reason] += 1
        names = {name for name in job.names if not is_ordinary(name)} - self._names
        if not names:
            return
        self.example = job  # its arguments show the new names
        for name in sorted(names):
            if len(self._names) >= MOST_NAMES or len(name) > LONGEST:
                self.is_complete = False
            else:
                self._names.add(name)

    @property
    def names(self) -> list[str]:
        """The names in the states, except those that ordinary jobs have."""
        return [*sorted(self._names), *([] if self.is_complete else [MORE])]

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Yield labels, texts, and their styles."""
        info = self.example.info
        yield "jobs", f"{self.jobs:,}", ""
        reasons = ", ".join(
            reason if jobs == self.jobs else f"{reason} ({jobs:,})"
            for reason, jobs in self.reasons.items()
        )
        yield "reason", reasons, ""
        yield "names", ", ".join(self.names), "bold red"
        yield "example", cut(info.id), ""
        yield "args", info.args or "", ""
        yield "kwargs", "" if info.kwargs == "{}" else info.kwargs or "", ""


class Groups:
    """Collects jobs without a valid signature.

    :ivar is_complete: whether the groups show all functions, and all names in the states.
    :ivar jobs: the number of jobs that can be signed.
    :ivar quarantined: how many of them are in quarantine.
    :ivar others: the number of documents that can't be signed.
    """

    def __init__(self) -> None:
        self.jobs = self.quarantined = self.others = 0
        self.is_complete = True
        self._groups: dict[str, Group] = {}
        self._first_others: list[tuple[str, str]] = []  # ids, and the reasons

    def add(self, job: UnverifiedJob) -> None:
        """Count a job."""
        if not job.can_be_signed:
            self.others += 1
            if len(self._first_others) < NAMED:
                why = job.info.unreadable or "its id is no text in UTF-8"
                self._first_others.append((cut(str(job.id), LONGEST), why))
            return
        self.jobs += 1
        self.quarantined += job.info.quarantine is not None
        full_name = job.info.func or ""
        func = cut(full_name, LONGEST)
        if func not in self._groups and len(self._groups) >= MOST_GROUPS:
            func = OTHERS
        group = self._groups.setdefault(func, Group(func, job))
        group.add(job)
        self.is_complete &= func == full_name and group.is_complete

    def write(self, output: Output) -> None:
        """Write the groups, those that name unusual classes or functions last, and so in sight."""
        groups = sorted(self._groups.values(), key=lambda each: (bool(each.names), -each.jobs))
        for group in groups:
            texts = [(label, printable(text), style) for label, text, style in group.texts()]
            if not output.is_terminal:
                output.record([printable(group.func), *(text or "-" for _, text, _ in texts)])
                continue
            output.line((printable(group.func), "bold"))
            for label, text, style in texts:
                if text:
                    first, *others = wrapped(text, output.width - LABEL)
                    output.line(f"  {label:{LABEL - 2}}", (first, style))
                    for each in others:
                        output.line(" " * LABEL, (each, style))
            output.line()
        if self.others:
            named = "; ".join(f"{job_id}: {why}" for job_id, why in self._first_others)
            more = f"; and {self.others - NAMED:,} more" if self.others > NAMED else ""
            write_text(printable(f"{self.others:,} documents are no jobs: {named}{more}"), output)

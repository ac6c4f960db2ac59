"""The doctor's checks of the collection, and of its companion ``<jobs>_meta``."""

import json
from collections.abc import Iterator

from ..documents import Document, subdocument
from ..indexes import missing_indexes
from ..overdue.held import HELD
from ..presence.format import DOCUMENT, FORMAT
from ..sharing.marker import MARK
from ..writes.quarantine import MARKED
from .backlog import MOST_COUNTED
from .facts import Facts, count_of, joined, plural
from .finding import Finding

__all__ = ["format_number", "held", "indexes", "jobs", "mark", "quarantine"]

LONGEST = 100  # characters of a reason


def jobs(facts: Facts) -> Iterator[Finding]:
    """Name the collection and the number of its jobs, about."""
    number = facts.connection.jobs.estimated_document_count()
    advice = "" if number else "If jobs are missing, see whether database and collection are right"
    text = f"{facts.connection.jobs.full_name} has {plural(number, 'job')}"
    yield Finding("well", "jobs", text, advice)


def indexes(facts: Facts) -> Iterator[Finding]:
    """Look for the indexes without which each cycle reads the whole collection."""
    missing = missing_indexes(facts.connection)
    if not missing:
        yield Finding("well", "indexes", "no index is missing")
        return
    prefix = f"db.getCollection({json.dumps(facts.connection.jobs.name)}).createIndex"
    commands = "; ".join(f'{prefix}({{"{field}": 1}}, {{sparse: true}})' for field in missing)
    yield Finding(
        "degraded",
        "indexes",
        f"no index on {' and '.join(missing)}: each cycle reads the whole collection",
        f"Start a scheduler whose user has the right createIndex, or create them: {commands}",
    )


def format_number(facts: Facts) -> Iterator[Finding]:
    """Tell whether this version can read and write the collection."""
    found = facts.connection.meta.find_one(DOCUMENT)
    if found is None:
        yield Finding("well", "format", "no format yet: the first start writes it")
        return
    read, write = (count_of(found.get(key)) for key in ("read", "write"))
    text = f"format {read:g} to read, and {write:g} to write"
    if max(read, write) <= FORMAT:
        yield Finding("well", "format", text)
        return
    yield Finding(
        "degraded",
        "format",
        f"{text}: this version of jobstore knows format {FORMAT}, so its schedulers don't start",
        "Install the version of jobstore that the other schedulers have, or a newer one",
    )


def mark(facts: Facts) -> Iterator[Finding]:
    """Compare the mark of sharing with the schedulers that fire."""
    found = facts.connection.meta.find_one(MARK)
    sharing = [each for each in facts.firing if each.shares]
    if sharing and not found:
        yield Finding(
            "degraded",
            "mark",
            f"the mark of sharing is missing, though {joined(sharing)} shares: a scheduler that "
            "doesn't share could start, and run each job a second time",
            "Restart one scheduler with shared=True: its start writes the mark",
        )
    elif found and not sharing:
        yield Finding(
            "well",
            "mark",
            f"schedulers have shared the jobs since {found.get('since')}, and none of them runs: "
            "a scheduler that doesn't share can't start",
            "If no scheduler is to share them again, call end_sharing()",
        )
    elif found:
        yield Finding("well", "mark", f"schedulers share the jobs since {found.get('since')}")
    else:
        yield Finding("well", "mark", "no schedulers share the jobs")


def quarantine(facts: Facts) -> Iterator[Finding]:
    """Count the jobs in quarantine."""
    collection = facts.connection.jobs
    number = collection.count_documents(MARKED, limit=MOST_COUNTED)
    if not number:
        yield Finding("well", "quarantine", "no job is in quarantine")
        return
    example = collection.find_one(MARKED, ["quarantine.reason"]) or {}
    reason = str(subdocument(example, "quarantine").get("reason"))[:LONGEST]
    at_least = "at least " if number == MOST_COUNTED else ""
    yield Finding(
        "degraded",
        "quarantine",
        f"{at_least}{plural(number, 'job')} in quarantine, which no scheduler runs; one of them: "
        f"{reason}",
        "List them with jobstore quarantine. Mend the cause, then call jobstore quarantine restore",
    )


def held(facts: Facts) -> Iterator[Finding]:
    """Count the held jobs, among the first 10,000 without a run time: no index has them alone."""
    pipeline: list[Document] = [
        {"$match": {"next_run_time": HELD["next_run_time"]}},
        {"$limit": MOST_COUNTED},
        {"$match": HELD},
        {"$count": "held"},
    ]
    number = sum(int(each["held"]) for each in facts.connection.jobs.aggregate(pipeline))
    if not number:
        yield Finding("well", "held", "no job is held")
        return
    yield Finding(
        "degraded",
        "held",
        f"{plural(number, 'job')} or more held since a start, which no scheduler runs",
        "Call release_held() when they may run",
    )

"""A collection of many kinds of documents, and a plain search to compare with."""

from datetime import datetime, timezone
from itertools import product

from apscheduler.triggers.cron import CronTrigger
from bson import Decimal128, MaxKey, MinKey, ObjectId, Timestamp

from jobstore.describe import describe
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.connection import CODEC
from support.damaged_documents import corpus, damaged, good
from support.jobs import START, at, job

SECONDS = [None, 1, 2, 2, 2, 3, 4.5, 1e9]
IDS = [None, True, 5, 7.5, Decimal128("6"), {"a": 1}, {"a": 2}, b"bytes", ObjectId(), START]
IDS += [Timestamp(1, 2), MinKey(), MaxKey(), float("nan")]
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
CRON = CronTrigger(hour=5, timezone="Europe/Berlin")


def another(*args, **kwargs):
    """Do nothing: another function of the jobs."""


def tags(job):
    return [f"size:{len(job.args)}", *job.args]


def ours(name, seconds, **options):
    return Codec(5, tags).to_document(job(name, seconds, **options))


def documents():
    """Return documents of many kinds."""
    made = []
    for number, (seconds, executor, args) in enumerate(
        product(SECONDS, ["default", "other"], [(), ("a",), ("a", "b")])
    ):
        name, options = f"job-{number % 7}-{number}", {"executor": executor, "args": args}
        if number % 3:
            options["trigger"] = CRON
        if number % 5 == 0:
            options["func"] = another
        document = ours(name, seconds, **options)
        if number % 4 == 1:  # a stock store's
            del document["about"]
        elif number % 4 == 2:  # changed by a stock store since
            options = {**options, "executor": "default", "func": another}
            document["job_state"] = ours(name, seconds, **options)["job_state"]
        made.append(document)
    for number, kind in enumerate(["held", "marked", "leased"] * 4):
        document = ours(f"{kind} {number}", 2)
        run_time = document["next_run_time"]
        if kind == "leased":
            document |= {"acquired_by": ObjectId(), "acquired_until": SINCE}
        elif kind == "held":
            held = {"next_run_time": run_time, "op": "catch_up", "by": "h:1", "at": SINCE}
            document |= {"held": held, "next_run_time": None}
        else:
            mark = {"reason": "r", "next_run_time": run_time, "since": SINCE}
            # A stock store has resumed every second one.
            document |= {"quarantine": mark, "next_run_time": None if number % 2 else run_time}
        made.append(document)
    made += [damaged(name, difference) for name, (difference, _) in corpus().items()]
    made += [{**good(str(each), 2), "_id": each} for each in IDS]
    made += [
        {**good(f"at no µs {i}"), "next_run_time": at(2).timestamp() + i * 2e-7} for i in range(5)
    ]
    made += [{**good(f"number {i}"), "next_run_time": i} for i in (0, -5, 1577836802)]
    made += [ours(name, 2) for name in ("x\ufffd", "größer", "größe", "ночь", "x", "x\x7f", "😀")]
    return made


def insert(collection, made=None):
    collection.insert_many(documents() if made is None else made)


def infos(collection):
    """Describe all documents, in order of id, as the server sorts them."""
    found = collection.with_options(codec_options=CODEC).find(sort=[("_id", 1)])
    return [(document, describe(document)) for document in found]


def is_selected(document, where):
    """Whether the server's query finds the texts: they are missing, or those asked for."""
    about = document.get("about") or {}
    asked = {name: getattr(where, name) for name in ("func", "name", "executor", "trigger")}
    return all(about.get(name) in (text, None) for name, text in asked.items() if text is not None)


def has_place_in_time(document):
    """Whether pages in order of time have a document, which lies in one part of the index alone."""
    if "next_run_time" not in document:
        return False
    value = document["next_run_time"]
    return not (isinstance(value, Decimal128) or value == [1.0])


def expected(collection, where):
    """Return the keys of the jobs that a search has to find, in order, by the plain definition."""
    found = [
        (document, info)
        for document, info in infos(collection)
        if where.includes(info.id, info.next_run_time, info.paused, info.quarantine is not None)
        and where.is_about(info.about)
        and is_selected(document, where)
        and (not where.is_by_time or has_place_in_time(document))
    ]
    if where.is_by_time:  # a stable sort: by id where times are the same
        found.sort(key=lambda each: (each[1].next_run_time is None, run_time(*each)))
    return [info.key for _, info in found]


def run_time(document, info):
    """Return the run time as it is stored: the description has whole microseconds."""
    return 0.0 if info.next_run_time is None else document["next_run_time"]


def paged(store, where, limit, by_key=False):
    """Return the keys of all pages, one after the other."""
    found, after = [], None
    while page := store.find(where, after, limit):
        assert len(page) <= limit
        found += [each.key for each in page]
        after = page[-1].key if by_key else page[-1]
        assert len(found) < 5_000, "the pages never end"
    return found

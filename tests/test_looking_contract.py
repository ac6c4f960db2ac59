"""The contract of `find`, `count` and `describe`: every store gives the same jobs, in pages."""

import json
from datetime import timedelta, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger

from jobstore import JobInfo, Where
from support.every_store import BULK, marked, opened
from support.jobs import at, job, note


def send(*args, **kwargs):
    """Do nothing: another function of jobs."""


NOTE, SEND = "support.jobs:note", f"{__name__}:send"


def letters(job):
    """Return a tag for each letter of the job's name."""
    return [letter for letter in job.name if letter.isalpha()]


@pytest.fixture(params=marked(BULK))
def store(request):
    with opened(request.param, request) as store:
        yield store


@pytest.fixture(params=marked(BULK[1:]))
def tagging_store(request):
    with opened(request.param, request, tags=letters) as store:
        yield store


def fill(store):
    """Add 60 jobs of several kinds: every tenth is paused, and many share a run time."""
    jobs = []
    for number in range(60):
        seconds = None if number % 10 == 9 else number * 7 % 20
        added = job(f"{'ab'[number % 2]}{number:02}", seconds, func=send if number % 3 else note)
        added.name = f"name {number % 5}"
        added.executor = "mails" if number % 4 == 0 else "default"
        if number % 6 == 0:
            added.trigger = CronTrigger(hour=1, timezone="UTC")
        jobs.append(added)
    store.add_jobs(jobs)


def ids(found):
    return [info.id for info in found]


def in_pages(store, where, limit, last=lambda info: info):
    """Find all jobs in pages, each of which begins after the page before."""
    found, after = [], None
    while page := store.find(where, after, limit):
        found += page
        after = last(page[-1])
        assert len(page) <= limit
    return found


# Which jobs are meant, and how a reader of all jobs would choose them.
WHERES = {
    "all": (Where(), lambda job: True),
    "prefix": (Where(id_prefix="a1"), lambda job: job.id.startswith("a1")),
    "empty prefix": (Where(id_prefix=""), lambda job: True),
    "no prefix": (Where(id_prefix="c"), lambda job: False),
    "before": (
        Where(due_before=at(7)),
        lambda job: job.next_run_time and job.next_run_time < at(7),
    ),
    "after": (Where(due_after=at(7)), lambda job: job.next_run_time and job.next_run_time >= at(7)),
    "between": (
        Where(due_after=at(3), due_before=at(9)),
        lambda job: job.next_run_time and at(3) <= job.next_run_time < at(9),
    ),
    "never": (Where(due_after=at(9), due_before=at(3)), lambda job: False),
    "paused": (Where(paused=True), lambda job: not job.next_run_time),
    "not paused": (Where(paused=False), lambda job: job.next_run_time),
    "paused and due": (Where(paused=True, due_before=at(9)), lambda job: False),
    "not paused, of a prefix": (
        Where(paused=False, id_prefix="a"),
        lambda job: job.next_run_time and job.id < "b",
    ),
    "quarantined": (Where(quarantined=True), lambda job: False),
    "not quarantined": (Where(quarantined=False), lambda job: True),
    "func": (Where(func=SEND), lambda job: job.func is send),
    "paused, of a func": (
        Where(func=SEND, paused=True),
        lambda job: job.func is send and not job.next_run_time,
    ),
    "another func": (Where(func="os:system"), lambda job: False),
    "name": (Where(name="name 3"), lambda job: job.name == "name 3"),
    "executor": (Where(executor="mails"), lambda job: job.executor == "mails"),
    "trigger": (Where(trigger="cron"), lambda job: isinstance(job.trigger, CronTrigger)),
    "due, of a func": (
        Where(func=NOTE, due_before=at(10)),
        lambda job: job.func is note and job.next_run_time and job.next_run_time < at(10),
    ),
    "all at once": (
        Where(
            id_prefix="a",
            due_after=at(1),
            due_before=at(15),
            paused=False,
            quarantined=False,
            func=NOTE,
            name="name 2",
            executor="default",
            trigger="interval",
        ),
        lambda job: (
            job.id[0] == "a"
            and job.next_run_time
            and at(1) <= job.next_run_time < at(15)
            and (job.func, job.name, job.executor) == (note, "name 2", "default")
            and not isinstance(job.trigger, CronTrigger)
        ),
    ),
    "tag of a store without tags": (Where(tag="a"), lambda job: False),
}
each_where = pytest.mark.parametrize(
    ("where", "is_meant"), [pytest.param(*case, id=name) for name, case in WHERES.items()]
)


@each_where
def test_pages_have_the_jobs_that_a_reader_of_all_would_choose_each_once(store, where, is_meant):
    fill(store)
    meant = [each.id for each in store.get_all_jobs() if is_meant(each)]
    expected = meant if where.is_by_time else sorted(meant)
    assert ids(store.find(where, limit=1000)) == expected
    assert ids(in_pages(store, where, 4)) == expected
    assert ids(in_pages(store, where, 1, lambda info: info.key)) == expected
    assert store.count(where) == len(expected)


def test_page_has_fifty_jobs_of_all_unless_told_otherwise(store):
    fill(store)
    assert ids(store.find()) == [each.id for each in store.get_all_jobs()[:50]]
    assert store.count() == 60


def test_empty_store_has_no_page_and_counts_no_jobs(store):
    for where, _ in WHERES.values():
        assert store.find(where) == []
        assert store.count(where) == 0


def test_job_is_described_without_its_code(store):
    store.add_job(
        job("a", 1.25, args=(1, "é"), kwargs={"b": [2]}, misfire_grace_time=7, max_instances=3)
    )
    info = store.describe("a")
    assert info._replace(bytes=None) == JobInfo(
        id="a",
        name="a",
        func=NOTE,
        trigger="interval[3650 days, 0:00:00]",
        executor="default",
        args="(1, 'é')",
        kwargs="{'b': [2]}",
        misfire_grace_time=7,
        coalesce=True,
        max_instances=3,
        next_run_time=at(1.25),
        paused=False,
    )
    assert store.find() == [info]


def test_run_time_is_shown_in_utc_and_a_paused_job_has_none(store):
    given = job("a", 1)
    given.next_run_time = at(1).astimezone(timezone(timedelta(hours=5)))
    store.add_jobs([given, job("b", None)])
    first, second = store.find()
    assert (first.next_run_time, first.next_run_time.tzinfo) == (at(1), timezone.utc)
    assert not first.paused
    assert second.next_run_time is None
    assert second.paused
    assert (store.describe("a"), store.describe("b")) == (first, second)


def test_unknown_id_is_described_as_none(store):
    store.add_job(job("a", 1))
    assert store.describe("b") is None
    assert store.describe("") is None


def test_key_of_a_job_is_json_of_its_time_and_id(store):
    store.add_jobs([job("a", 1), job("é", None)])
    assert [json.loads(info.key) for info in store.find()] == [
        [at(1).timestamp(), "a"],
        [None, "é"],
    ]


def test_ids_of_one_time_are_in_the_order_of_their_characters(store):
    names = ["B", "a", "aa", "b", "é", "Ж", "語", "🙂", "a\0"]
    store.add_jobs([job(name, 1) for name in names])
    assert ids(in_pages(store, Where(), 2, lambda info: info.key)) == sorted(names)
    assert ids(in_pages(store, Where(id_prefix=""), 2, lambda info: info.key)) == sorted(names)


def test_next_page_goes_on_where_the_last_job_was_though_it_is_gone(store):
    fill(store)
    expected = ids(store.find(limit=60))
    last = store.find(limit=20)[-1]
    store.remove_job(last.id)
    assert ids(store.find(after=last, limit=60)) == expected[20:]
    assert ids(store.find(after=last.key, limit=60)) == expected[20:]


def test_prefix_has_no_special_characters(store):
    names = [".*", "a.c", "abc", "$a", "^a", "a\\"]
    store.add_jobs([job(name, 1) for name in names])
    for name in names:
        assert ids(store.find(Where(id_prefix=name))) == [name]
        assert store.count(Where(id_prefix=name)) == 1


@pytest.mark.parametrize("where", [Where(), Where(func=NOTE)], ids=["by time", "by id"])
@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", None, True], ids=repr)
def test_limit_that_is_no_whole_number_from_1_on_is_refused(store, where, limit):
    with pytest.raises(ValueError, match=r"limit is .*: it must be a whole number from 1 on"):
        store.find(where, limit=limit)


@pytest.mark.parametrize("where", [Where(), Where(func=NOTE)], ids=["by time", "by id"])
@pytest.mark.parametrize(
    "key",
    [
        "",
        "report",
        "{}",
        "[]",
        "[1]",
        '[1, "a", 2]',
        '["1", "a"]',
        '[true, "a"]',
        '[NaN, "a"]',
        '[Infinity, "a"]',
        '[1e400, "a"]',
        f'[1{"0" * 400}, "a"]',
        "[" * 100_000,
        5,
        ["a"],
    ],
    ids=lambda key: repr(key)[:20],
)
def test_key_of_no_job_is_refused_and_named(store, where, key):
    with pytest.raises(ValueError, match=r"after is "):
        store.find(where, after=key)


@pytest.mark.parametrize("where", [Where(tag="a"), Where(tag="c", due_before=at(5))])
def test_jobs_are_found_by_their_tags(tagging_store, where):
    store = tagging_store
    store.add_jobs([job("abc", 3), job("ab", 2), job("c", 1), job("acd", 9), job("a", None)])
    expected = [
        each.id
        for each in store.get_all_jobs()
        if where.tag in each.id and (not where.due_before or each.next_run_time < at(5))
    ]
    assert ids(store.find(where)) == (expected if where.is_by_time else sorted(expected))
    assert store.count(where) == len(expected)
    assert store.describe("abc").tags == ("a", "b", "c")
    assert store.find(where)[0].tags == store.describe(store.find(where)[0].id).tags


def test_argument_tags_that_is_no_function_is_refused(request):
    with pytest.raises(ValueError, match=r"tags is 'a': it must be a function"):
        opened("memory-compiled", request, tags="a").__enter__()

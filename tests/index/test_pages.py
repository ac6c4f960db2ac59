"""A page of an index begins after any place in it, whether or not a job is there."""

import sys
from random import Random

import pytest

from jobstore import MemoryJobStore
from support.hostile_calls import both, forbidden
from support.indexes import Slotted, at, filled, job, unchanged

FIRST, PAUSED = -(2**62), 2**62


def entries(index):
    return index.page(FIRST, None, sys.maxsize)


@both
def test_page_of_everything_has_all_jobs_in_order_with_their_keys_and_ids(make):
    index = filled(make)
    found = entries(index)
    assert [each for _, _, each in found] == index.all()
    assert [job_id for _, job_id, _ in found] == [each.id for each in index.all()]
    assert [key for key, _, _ in found] == [
        PAUSED if each.next_run_time is None else round(each.next_run_time.timestamp() * 1_000_000)
        for each in index.all()
    ]


@both
def test_page_begins_after_any_place_and_has_at_most_the_limit(make):
    index = filled(make)
    found = entries(index)
    random = Random(1)
    for _ in range(2000):
        key, job_id, _ = random.choice(found)
        key = min(key + random.choice([-1, 0, 0, 1]), PAUSED)
        job_id = random.choice([job_id, f"{job_id}0", "", "job07", "k"])
        limit = random.randrange(30)
        after = [each for each in found if each[:2] > (key, job_id)]
        assert index.page(key, job_id, limit) == after[:limit]
        assert index.page(key, None, limit) == [each for each in found if each[0] >= key][:limit]


@both
def test_pages_follow_each_other_to_the_end(make):
    index = filled(make)
    place, found = (FIRST, None), []
    while page := index.page(*place, 7):
        found += page
        place = page[-1][:2]
    assert found == entries(index)


@both
def test_page_shows_the_time_by_which_a_job_was_put_not_its_time_since(make):
    index = filled(make)
    before = [entry[:2] for entry in entries(index)]
    for each in index.all():
        each.next_run_time = at(99)
    assert [entry[:2] for entry in entries(index)] == before


@both
def test_page_of_an_empty_index_is_empty(make):
    assert make().page(0, "a", 5) == []


@both
def test_page_knows_an_id_of_a_subclass_by_its_characters(make):
    text, calls = forbidden(str)
    index = make()
    index.add_many([job("a", 1), job("b", 1)])
    key = entries(index)[0][0]
    assert [found for _, found, _ in index.page(key, str.__new__(text, "a"), 5)] == ["b"]
    assert calls == []


@both
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("1", None, 5), TypeError),
        ((1.0, None, 5), TypeError),
        ((None, None, 5), TypeError),
        ((2**62 + 1, None, 5), OverflowError),
        ((-(2**64), None, 5), OverflowError),
        ((1, 7, 5), TypeError),
        ((1, b"a", 5), TypeError),
        ((1, ["a"], 5), TypeError),
        ((1, "a", -1), ValueError),
        ((1, "a", 1.0), TypeError),
        ((1, "a", None), TypeError),
    ],
)
def test_wrong_place_or_limit_is_refused(make, arguments, error):
    index = filled(make)
    with unchanged(index), pytest.raises(error):
        index.page(*arguments)


@both
def test_key_that_changes_the_index_while_it_is_read_gets_a_whole_page(make):
    class Key:
        def __index__(self):
            index.clear()
            index.add(job("new", 1))
            return FIRST

    index = filled(make)
    assert [job_id for _, job_id, _ in index.page(Key(), None, 5)] == ["new"]


@both
def test_page_keeps_its_jobs_when_the_index_is_cleared(make):
    index = make()
    index.add(Slotted("a", at(1)))
    page = index.page(FIRST, None, 1)
    index.clear()
    assert page[0][2].id == "a"


def test_page_owns_one_reference_to_each_id_and_job():
    store = MemoryJobStore()
    job_id = "a long id that nobody else has"[:]
    added = job(job_id, 1)
    store._index.add(added)
    before = sys.getrefcount(added), sys.getrefcount(job_id)
    for _ in range(100):
        store._index.page(FIRST, None, 5)
    assert (sys.getrefcount(added), sys.getrefcount(job_id)) == before

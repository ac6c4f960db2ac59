"""Hostile jobs, time zones, ids and iterables leave no partial change in an index."""

from datetime import datetime, timedelta, tzinfo

import pytest

from jobstore import ConflictingIdError, JobLookupError, MemoryJobStore
from support.hostile_calls import (
    ACTIONS,
    MANY,
    NEW,
    STORED,
    Calling,
    both,
    each_call,
    forbidden,
    parametrized,
)
from support.indexes import Slotted, at, by_id, filled, job, outcome, unchanged


class BoomError(Exception):
    pass


class Zone(tzinfo):
    """A zone whose `utcoffset()` returns the given answer, or raises it."""

    def __init__(self, answer):
        self.answer = answer

    def utcoffset(self, when):
        if issubclass(type(self.answer), Exception):
            raise self.answer
        return self.answer


# ---- attributes ----


class WithoutTime(Slotted):
    @property
    def next_run_time(self):
        raise BoomError

    @next_run_time.setter
    def next_run_time(self, value):
        pass


class WithoutId(WithoutTime):
    @property
    def id(self):
        raise BoomError

    @id.setter
    def id(self, value):
        pass


@both
@each_call
@pytest.mark.parametrize("kind", [WithoutTime, WithoutId])
def test_job_with_a_raising_attribute_changes_nothing(make, call, kind):
    name, give = call
    index = filled(make)
    with unchanged(index), pytest.raises(BoomError):
        give(index, kind(name))


@both
@each_call
@pytest.mark.parametrize("value", [0, "2030-01-01", at(0).date(), at(0).timestamp(), datetime])
def test_run_time_of_another_type_raises_type_error_and_changes_nothing(make, call, value):
    name, give = call
    index = filled(make)
    with unchanged(index), pytest.raises(TypeError, match=f"next_run_time of job '{name}' must be"):
        give(index, Slotted(name, value))


# ---- time zones ----

BAD_OFFSETS = {
    "raises": (BoomError(), BoomError),
    "int": (3600, TypeError),
    "str": ("+01:00", TypeError),
    "two days": (timedelta(days=2), ValueError),
    "minus a day": (timedelta(days=-1), ValueError),
}


@both
@each_call
@parametrized("bad", BAD_OFFSETS)
def test_time_zone_with_a_bad_offset_changes_nothing(make, call, bad):
    (name, give), (answer, error) = call, bad
    index = filled(make)
    with unchanged(index), pytest.raises(error):
        give(index, Slotted(name, datetime(2030, 1, 1, tzinfo=Zone(answer))))


@both
@parametrized("bad", BAD_OFFSETS)
def test_due_raises_when_the_zone_of_now_has_a_bad_offset(make, bad):
    answer, error = bad
    index = filled(make)
    with unchanged(index), pytest.raises(error):
        index.due(datetime(2030, 1, 1, tzinfo=Zone(answer)))


@both
@each_call
def test_time_zone_without_an_offset_counts_as_utc(make, call):
    name, give = call
    index, plain = filled(make), filled(make)
    give(index, Slotted(name, datetime(2030, 1, 1, 0, 0, 7, tzinfo=Zone(None))))
    give(plain, job(name, 7))
    assert by_id(index) == by_id(plain)


@both
@each_call
def test_offset_of_a_timedelta_subclass_counts_by_its_value_alone(make, call):
    name, give = call
    index, plain = filled(make), filled(make)
    kind, calls = forbidden(timedelta)
    give(index, Slotted(name, datetime(2030, 1, 1, 1, 0, 7, tzinfo=Zone(kind(0, 3600)))))
    assert calls == []
    give(plain, job(name, 7))
    assert by_id(index) == by_id(plain)


@both
@each_call
@pytest.mark.parametrize("edge", [datetime.min, datetime.max])
def test_run_time_outside_the_years_1_to_9999_in_utc_changes_nothing(make, call, edge):
    name, give = call
    index = filled(make)
    offset = timedelta(microseconds=1 if edge == datetime.min else -1)
    with unchanged(index), pytest.raises(OverflowError, match=f"next_run_time of job '{name}'"):
        give(index, Slotted(name, edge.replace(tzinfo=Zone(offset))))


@both
@each_call
@parametrized("action", ACTIONS)
def test_change_by_a_time_zone_takes_effect_before_the_call(make, call, action):
    name, give = call
    index, model = filled(make), filled(make)
    zone = Calling(lambda: action(index, name))
    hostile = Slotted(name, datetime(2030, 1, 1, 0, 0, 17, tzinfo=zone))
    action(model, name)
    assert outcome(give, index, hostile) == outcome(give, model, job(name, 17))
    assert by_id(index) == by_id(model)


@both
@parametrized("action", ACTIONS)
def test_change_by_the_zone_of_now_takes_effect_before_due(make, action):
    index, model = filled(make), filled(make)
    zone = Calling(lambda: action(index, STORED))
    action(model, STORED)
    due = index.due(datetime(2030, 1, 1, 0, 0, 17, tzinfo=zone))
    assert [job.id for job in due] == [job.id for job in model.due(at(17))]
    assert by_id(index) == by_id(model)


@both
@parametrized("action", ACTIONS)
def test_first_job_can_change_the_index_while_its_run_time_is_read(make, action):
    class Acting(Slotted):
        @property
        def next_run_time(self):
            if self.id in index:
                action(index, self.id)
            return at(-1)

        @next_run_time.setter
        def next_run_time(self, value):
            pass

    index, model = filled(make), filled(make)
    index.add(Acting(NEW))
    model.add(job(NEW, -1))
    assert index.first_run_time() == at(-1)
    action(model, NEW)
    assert len(index) == len(model)
    index._check()


def test_time_zone_can_change_the_store_during_the_stores_call():
    store = MemoryJobStore()
    zone = Calling(lambda: store.add_job(job("same", 1)))
    with pytest.raises(ConflictingIdError):
        store.add_job(Slotted("same", datetime(2030, 1, 1, tzinfo=zone)))
    assert store.get_next_run_time() == at(1)
    zone = Calling(lambda: store.remove_job("same"))
    with pytest.raises(JobLookupError):
        store.update_job(Slotted("same", datetime(2030, 1, 1, tzinfo=zone)))
    assert len(store) == 0


# ---- datetimes ----


@both
@each_call
def test_datetime_of_a_subclass_counts_by_its_value_alone(make, call):
    name, give = call
    index, plain = filled(make), filled(make)
    kind, calls = forbidden(datetime)
    give(index, Slotted(name, kind(2030, 1, 1, 1, 0, 7, tzinfo=Zone(timedelta(hours=1)))))
    assert [job.id for job in index.due(kind(2030, 1, 1, 0, 0, 7))].count(name) == 1
    assert calls == []
    give(plain, job(name, 7))
    assert by_id(index) == by_id(plain)


# ---- iterables ----


@both
@parametrized("call", MANY)
def test_iterable_that_raises_midway_changes_nothing(make, call):
    def jobs():
        yield job("job001", 5)
        yield job("new", 5)
        raise BoomError

    index = filled(make)
    with unchanged(index), pytest.raises(BoomError):
        call(index, jobs())


@both
@parametrized("call", MANY)
@pytest.mark.parametrize("given", [None, 7, object()])
def test_bulk_call_raises_type_error_for_a_non_iterable(make, call, given):
    index = filled(make)
    with unchanged(index), pytest.raises(TypeError, match="not iterable"):
        call(index, given)


@both
@parametrized("call", MANY)
@parametrized("action", ACTIONS)
def test_change_by_an_iterable_takes_effect_before_the_call(make, call, action):
    jobs = [job("new", 8), job(STORED, 9), job("other0500"), job("new", 1), job(STORED, 2)]

    def hostile():
        yield from jobs[:2]
        action(index, STORED)
        yield from jobs[2:]

    index, model = filled(make), filled(make)
    action(model, STORED)
    assert outcome(call, index, hostile()) == outcome(call, model, jobs)
    assert by_id(index) == by_id(model)


@both
@parametrized("call", {name: MANY[name] for name in ("add_many", "put_many")})
@pytest.mark.parametrize("change", ["clear", "reverse", "pop"])
def test_list_changed_by_one_of_its_jobs_counts_as_it_was_at_the_call(make, call, change):
    class Changing(Slotted):
        @property
        def next_run_time(self):
            getattr(jobs, change)()
            return at(1)

        @next_run_time.setter
        def next_run_time(self, value):
            pass

    index, model = filled(make), filled(make)
    jobs = [Changing(f"new{i}") for i in range(9)]
    model.add_many([job(f"new{i}", 1) for i in range(9)])
    assert not call(index, jobs)
    assert by_id(index)[0] == by_id(model)[0]


@both
def test_list_changed_by_one_of_its_ids_counts_as_it_was_at_the_call(make):
    class Clearing:
        def __hash__(self):
            ids.clear()
            return 1

    index = filled(make)
    ids = [Clearing(), *(f"job{i:03}" for i in range(100))]
    refused = index.remove_many(ids)
    assert len(refused) == 1
    assert len(index) == 50
    index._check()


# ---- interruptions ----


@both
@each_call
def test_keyboard_interrupt_while_a_job_is_read_changes_nothing(make, call):
    class Interrupted(Slotted):
        @property
        def next_run_time(self):
            raise KeyboardInterrupt

        @next_run_time.setter
        def next_run_time(self, value):
            pass

    name, give = call
    index = filled(make)
    with unchanged(index), pytest.raises(KeyboardInterrupt):
        give(index, Interrupted(name))


@both
def test_run_time_of_a_refused_job_is_not_read(make):
    asked = []

    class Asked(Slotted):
        @property
        def next_run_time(self):
            asked.append(self.id)
            raise KeyboardInterrupt  # as Ctrl-C does

        @next_run_time.setter
        def next_run_time(self, value):
            pass

    index = filled(make)
    assert index.add_many([Asked(STORED), job(NEW, 1)]) == [STORED]
    assert index.replace_many([Asked("absent")]) == ["absent"]
    assert outcome(index.add, Asked(STORED))[0] is ConflictingIdError
    assert outcome(index.replace, Asked("absent"))[0] is JobLookupError
    assert asked == []

"""The index compares ids by their characters alone, not by their class."""

import enum

import pytest

from jobstore import ConflictingIdError, JobLookupError
from support.hostile_calls import (
    ACTIONS,
    STORED,
    both,
    each_call,
    forbidden,
    parametrized,
)
from support.indexes import Slotted, by_id, filled, job, unchanged

# Each call that takes the id of a stored job.
LOOKUPS = {
    "remove": lambda index, name: index.remove(name).id,
    "get": lambda index, name: index.get(name).id,
    "in": lambda index, name: name in index,
    "remove_many": lambda index, name: index.remove_many(["job001", name, "job003"]),
}
each_lookup = parametrized("look_up", LOOKUPS)


@both
@each_call
def test_id_of_a_str_subclass_counts_by_its_characters_alone(make, call):
    name, give = call
    index, plain = filled(make), filled(make)
    kind, calls = forbidden(str)
    plain_job = job(name, 17)
    hostile = Slotted(kind(name), plain_job.next_run_time)
    assert give(index, hostile) == give(plain, plain_job)
    assert index.get(name) is hostile
    hostile.id = name
    assert by_id(index) == by_id(plain)
    assert calls == []


@both
@each_lookup
def test_stored_job_is_found_by_an_id_of_a_str_subclass(make, look_up):
    index, plain = filled(make), filled(make)
    kind, calls = forbidden(str)
    assert look_up(index, kind(STORED)) == look_up(plain, STORED)
    assert by_id(index) == by_id(plain)
    assert calls == []


@both
def test_refused_ids_are_reported_as_exact_strings(make):
    index = filled(make)
    kind, calls = forbidden(str)
    with unchanged(index):
        refused = [
            *index.add_many([job(kind(STORED), 1), job(kind("job001"), 1)]),
            *index.replace_many([job(kind("absent"), 1)]),
            *index.remove_many([kind("missing")]),
        ]
        assert refused == [STORED, "job001", "absent", "missing"]
        assert {type(job_id) for job_id in refused} == {str}
        with pytest.raises(ConflictingIdError, match=STORED):
            index.add(job(kind(STORED), 1))
        for refuse in (index.remove, lambda name: index.replace(job(name, 1))):
            with pytest.raises(JobLookupError, match="absent"):
                refuse(kind("absent"))
    assert calls == []


@both
def test_jobs_with_equal_times_are_ordered_by_the_characters_of_their_ids(make):
    index = make()
    names = [f"{end}{i}" for i in range(40) for end in ("a", "\0", "é", "\udc80", "\U0001f600")]
    for number, name in enumerate(names):
        kind, calls = forbidden(str)
        index.add(Slotted(kind(name) if number % 2 else name, None))
        assert calls == []
    assert [str.__str__(job.id) for job in index.all()] == sorted(names)
    index._check()


@both
def test_member_of_a_str_enum_serves_as_an_id(make):
    class Name(str, enum.Enum):
        BACKUP = "backup"

    index = make()
    index.add(job(Name.BACKUP, 1))
    assert "backup" in index
    assert Name.BACKUP in index
    assert index.remove("backup").id is Name.BACKUP


# ---- ids that are no strings ----

NO_STRINGS = [None, 7, 1.5, b"job005", ("job005",), frozenset(), object()]


def type_name(value):
    return type(value).__name__


each_no_string = pytest.mark.parametrize("name", NO_STRINGS, ids=type_name)


@both
@each_no_string
def test_adding_a_job_with_a_non_string_id_raises_type_error(make, name):
    index = filled(make)
    for give in (
        lambda given: index.add(given),
        lambda given: index.add_many([job("new", 1), given, given]),
        lambda given: index.put_many([job("new", 1), job("job001", 1), given]),
    ):
        with unchanged(index), pytest.raises(TypeError, match="the id of a job must be a str"):
            give(job(name, 1))


@both
@each_no_string
def test_replacing_a_job_with_a_non_string_id_finds_no_job(make, name):
    index = filled(make)
    with unchanged(index):
        with pytest.raises(JobLookupError):
            index.replace(job(name, 1))
        assert index.replace_many([job(name, 1), job("absent", 1)]) == [name, "absent"]


@both
@each_no_string
def test_lookup_of_a_non_string_id_finds_no_job(make, name):
    index = filled(make)
    with unchanged(index):
        assert name not in index
        assert index.get(name) is None
        with pytest.raises(JobLookupError):
            index.remove(name)
        assert index.remove_many([name, name]) == [name, name]


class Unhashable:
    __hash__ = None


@both
@pytest.mark.parametrize("name", [[], {}, {"job005"}, Unhashable(), ([],)], ids=type_name)
def test_unhashable_id_raises_type_error_and_changes_nothing(make, name):
    index = filled(make)
    for refuse in (
        index.get,
        index.remove,
        index.__contains__,
        lambda name: index.remove_many(["job001", name]),
        lambda name: index.add(job(name, 1)),
        lambda name: index.replace(job(name, 1)),
        lambda name: index.add_many([job("new", 1), job(name, 1)]),
        lambda name: index.replace_many([job("job001", 1), job(name, 1)]),
        lambda name: index.put_many([job("job001", 1), job(name, 1)]),
    ):
        with unchanged(index), pytest.raises(TypeError, match="unhashable"):
            refuse(name)


class CallingId:
    """An id of another type that runs an action when it is hashed."""

    def __init__(self, action):
        self.action = action

    def __hash__(self):
        self.action()
        return hash(STORED)

    def __eq__(self, other):
        return other == STORED  # an index never compares ids this way


LOOK_UP_OR_GIVE = {
    "get": lambda index, name: index.get(name),
    "in": lambda index, name: name in index,
    "remove": lambda index, name: index.remove(name),
    "remove_many": lambda index, name: len(index.remove_many(["job001", name, STORED, "job001"])),
    "add": lambda index, name: index.add(job(name, 1)),
    "replace": lambda index, name: index.replace(job(name, 1)),
    "replace_many": lambda index, name: len(index.replace_many([job(STORED, 1), job(name, 1)])),
}


@both
@parametrized("action", ACTIONS)
@parametrized("call", LOOK_UP_OR_GIVE)
def test_change_by_the_hash_of_an_id_takes_effect_before_the_call(make, action, call):
    index, model = filled(make), filled(make)
    name, plain_name = CallingId(lambda: action(index, STORED)), CallingId(lambda: None)
    action(model, STORED)
    try:
        expected = call(model, plain_name)
    except (TypeError, JobLookupError) as error:
        with pytest.raises(type(error)):
            call(index, name)
    else:
        assert call(index, name) == expected
    assert by_id(index) == by_id(model)


# ---- legacy strings, which extensions can make on 3.10 and 3.11 ----


try:
    from _testcapi import unicode_legacy_string
except ImportError:  # Python 3.12 has removed them
    unicode_legacy_string = None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # making such a string warns
@pytest.mark.skipif(unicode_legacy_string is None, reason="this CPython has no such strings")
@both
@each_call
@each_lookup
def test_legacy_string_serves_as_an_id(make, call, look_up):
    name, give = call
    index, plain = filled(make), filled(make)
    legacy = unicode_legacy_string
    assert give(index, job(legacy(name), 17)) == give(plain, job(name, 17))
    assert look_up(index, legacy(STORED)) == look_up(plain, STORED)
    assert by_id(index) == by_id(plain)

"""Which jobs may be advanced, and which changes of such a job are noticed."""

import pickle
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from apscheduler.job import Job
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore._states import is_unchanged
from jobstore.mongodb import recurring
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.documents import Record
from jobstore.mongodb.recurring import MAX_TRIGGERS, parts_of
from jobstore.triggers import CronTrigger
from states.write_states import triggers
from support.parameters import kind
from support.states import BERLIN, UTC, ZONES, advance, assert_same, make_job, restored

OLD = datetime(2026, 1, 31, 12, tzinfo=BERLIN)
EVERY_TRIGGER = {
    **triggers(BERLIN),
    "or with a date": OrTrigger([DateTrigger(OLD, BERLIN), IntervalTrigger(1, timezone=BERLIN)]),
}
ONCE = EVERY_TRIGGER.pop("date")


def interval():
    return IntervalTrigger(minutes=5, timezone=BERLIN)


def job(trigger=None, **options):
    made = make_job(trigger or interval(), OLD, **options)
    return restored(pickle.dumps(made.__getstate__(), 5))


class Number(int):
    pass


class OwnTrigger(IntervalTrigger):
    pass


class OwnJob(Job):
    pass


class Worker:
    def work(self, *args):
        pass

    @classmethod
    def work_for_all(cls, *args):
        pass


WORKER = Worker()


@pytest.mark.parametrize("trigger", EVERY_TRIGGER.values(), ids=EVERY_TRIGGER)
def test_job_of_atoms_with_a_stock_trigger_is_eligible(trigger):
    atoms = (None, True, 1, 1.5, 2j, "text", b"bytes")
    made = job(trigger, args=atoms, kwargs={"a": 1, "b": None})
    parts = parts_of(made)
    assert is_unchanged(made, parts)
    made.next_run_time += timedelta(days=1)
    made._scheduler = made._jobstore_alias = object()
    assert is_unchanged(made, parts)
    assert not is_unchanged(job(trigger, args=atoms), parts)  # equal, but of other objects


def test_job_with_the_fast_cron_trigger_is_eligible():
    made = job(StockCronTrigger(minute="*/5", timezone=BERLIN))
    made.trigger = CronTrigger(minute="*/5", timezone=BERLIN)
    parts = parts_of(made)
    assert is_unchanged(made, parts)
    made.trigger.get_next_fire_time(OLD, OLD)
    assert is_unchanged(made, parts)  # what the trigger remembers is no part of the state
    made.trigger.jitter = 5
    assert not is_unchanged(made, parts)


@pytest.mark.parametrize("zone", ZONES, ids=repr)
def test_zone_may_be_of_any_class(zone):
    made = job()
    made.trigger.timezone = zone
    assert is_unchanged(made, parts_of(made))


def test_no_job_is_eligible_if_apscheduler_has_other_slots(monkeypatch):
    assert recurring._slots(Worker, ["work"]) is None
    assert recurring._slots(Job, ["no_such_attribute"]) is None
    monkeypatch.setattr(recurring, "JOB", None)
    assert parts_of(job()) is None


def test_class_method_as_a_function_is_eligible():
    assert parts_of(job(func=f"{__name__}:Worker.work_for_all"))


@pytest.mark.parametrize(
    "value",
    [[], {}, set(), (1,), Number(1), Decimal(1), date(2026, 1, 1), Worker(), print],
    ids=kind,
)
def test_job_with_another_argument_is_not_eligible(value):
    assert parts_of(job(args=(value,))) is None
    assert parts_of(job(kwargs={"a": value})) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("args", [1]),
        ("kwargs", type("Own", (dict,), {})()),
        ("kwargs", {Number(1): 1}),
        ("func", WORKER.work),
        ("func_ref", None),
        ("func_ref", ""),
        ("name", type("Own", (str,), {})("x")),
        ("misfire_grace_time", Number(60)),
        ("trigger", OwnTrigger(minutes=1, timezone=BERLIN)),
        ("trigger", OrTrigger([interval(), OwnTrigger(minutes=1, timezone=BERLIN)])),
        ("trigger", OrTrigger((interval(),))),
        ("trigger", OrTrigger([interval() for _ in range(MAX_TRIGGERS)])),
        ("trigger", ONCE),
        ("trigger", None),
    ],
    ids=kind,
)
def test_job_with_another_part_is_not_eligible(name, value):
    made = job()
    setattr(made, name, value)
    assert parts_of(made) is None


def test_trigger_that_contains_itself_is_not_eligible():
    made = job(OrTrigger([interval()]))
    made.trigger.triggers.append(made.trigger)
    assert parts_of(made) is None


def test_trigger_with_other_values_is_not_eligible():
    for name, value in [("jitter", [5]), ("start_date", "2026-01-01"), ("interval", Worker())]:
        made = job()
        setattr(made.trigger, name, value)
        assert parts_of(made) is None
    made = job(StockCronTrigger(timezone=BERLIN))
    made.trigger.fields[0] = Worker()
    assert parts_of(made) is None


def test_job_of_another_class_or_without_an_attribute_is_not_eligible():
    made = job()
    own = OwnJob.__new__(OwnJob)
    own.__setstate__(made.__getstate__())
    assert parts_of(own) is None
    assert not is_unchanged(own, parts_of(made))
    del made.name
    assert parts_of(made) is None


@pytest.mark.parametrize(
    "name",
    [
        *("id", "func", "func_ref", "trigger", "executor", "args", "kwargs"),
        *("name", "misfire_grace_time", "coalesce", "max_instances"),
    ],
)
def test_replaced_or_deleted_attribute_is_noticed(name):
    made = job(kwargs={"a": 1})
    parts, value = parts_of(made), getattr(made, name)
    setattr(made, name, object())
    assert not is_unchanged(made, parts)
    setattr(made, name, value)
    assert is_unchanged(made, parts)
    delattr(made, name)
    assert not is_unchanged(made, parts)


def test_kwargs_changed_in_place_are_noticed():
    for change in (
        lambda kwargs: kwargs.update(c=3),
        lambda kwargs: kwargs.update(a=3),
        lambda kwargs: kwargs.pop("a"),
        lambda kwargs: kwargs.update(a=kwargs.pop("a")),
    ):
        made = job(kwargs={"a": 1, "b": 2})
        parts = parts_of(made)
        change(made.kwargs)
        assert not is_unchanged(made, parts)


def slot_names(cls):
    for each in cls.__mro__:
        slots = vars(each).get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots


@pytest.mark.parametrize("trigger", EVERY_TRIGGER.values(), ids=EVERY_TRIGGER)
def test_trigger_changed_in_place_is_noticed(trigger):
    made = job(trigger)
    parts = parts_of(made)
    for each in [made.trigger, *getattr(made.trigger, "triggers", ())]:
        for name in slot_names(type(each)):
            value = getattr(each, name)
            setattr(each, name, object())
            assert not is_unchanged(made, parts), name
            setattr(each, name, value)
            assert is_unchanged(made, parts)
            if type(value) is list:
                value.append(value.pop(0))
                assert not is_unchanged(made, parts) or len(value) == 1
                value.insert(0, value.pop())
                value.append(value[0])
                assert not is_unchanged(made, parts)
                value.pop()
                assert is_unchanged(made, parts)


def test_class_of_a_trigger_changed_in_place_is_noticed():
    made = job(AndTrigger([interval()]))
    parts = parts_of(made)
    made.trigger.__class__ = OrTrigger
    assert not is_unchanged(made, parts)


class Changing:
    """Pickles otherwise each time."""

    pickles = 0

    def __reduce__(self):
        Changing.pickles += 1
        return Changing, (), {"number": Changing.pickles}


def with_run_time(state, run_time):
    changed, signature = Codec().with_run_time(Record("a", 0.0, state), run_time)
    assert signature is None
    return changed


def test_run_time_in_a_state_is_replaced_and_all_else_keeps_its_bytes():
    state = pickle.dumps(make_job(interval(), OLD, args=(Changing(),)).__getstate__(), 5)
    later = OLD + timedelta(days=100)  # in summer time
    changed = with_run_time(state, later.timestamp())
    assert changed == advance(state, OLD, later)
    assert pickle.loads(changed)["next_run_time"] == later
    assert sum(a != b for a, b in zip(state, changed, strict=True)) <= 10


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("trigger", [*EVERY_TRIGGER.values(), ONCE], ids=str)
def test_state_with_another_run_time_is_the_same_pickled_or_advanced(trigger, protocol):
    for run_time in (OLD, OLD.astimezone(UTC), OLD.replace(tzinfo=None), None):
        content = make_job(trigger, run_time, args=([1],)).__getstate__()
        changed = with_run_time(pickle.dumps(content, protocol), OLD.timestamp() + 3600.5)
        zone = getattr(run_time, "tzinfo", None) or getattr(trigger, "timezone", None)
        zone = zone or (UTC if trigger is ONCE else BERLIN)  # a date trigger has no zone
        expected = datetime.fromtimestamp(OLD.timestamp() + 3600.5, zone)
        read = pickle.loads(changed)
        assert_same(read, pickle.loads(pickle.dumps(content | {"next_run_time": expected}, 5)))
        paused = pickle.loads(with_run_time(changed, None))
        assert_same(paused, read | {"next_run_time": None})

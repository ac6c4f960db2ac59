"""Triggers are described by the text that they have themselves, in every zone and protocol."""

import pickle
from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from states.write_states import read

from jobstore import triggers
from jobstore.about import about_job
from jobstore.describe import about_state, describe, describe_job
from support.described import PROTOCOLS, RUN_TIME, TRIGGERS, described
from support.states import make_job, restored


class Never(BaseTrigger):
    """A trigger of another package; its text would need its code."""

    def __init__(self, secret):
        self.secret = secret

    def get_next_fire_time(self, previous, now):
        return None

    def __getstate__(self):  # object has none before Python 3.11
        return vars(self)

    def __str__(self):
        raise AssertionError("called")

    __repr__ = __str__


class Rarely(CronTrigger):
    def __str__(self):
        raise AssertionError("called")

    __repr__ = __str__


def assert_text(text, trigger):
    """The text is the trigger's own; but dates name the zone, whose data may not be here."""
    zone = getattr(getattr(trigger, "run_date", None), "tzinfo", None)
    if type(trigger).__name__ == "CalendarIntervalTrigger":
        names = "years", "months", "weeks", "days"
        counts = [f"{name}={getattr(trigger, name)}" for name in names if getattr(trigger, name)]
        assert text == f"calendarinterval[{', '.join(counts)}, time='{trigger._time:%H:%M:%S}']"
    elif zone is None or isinstance(zone, timezone):
        assert text == str(trigger)
    else:
        own = isinstance(zone, ZoneInfo)
        begin = f"date[{trigger.run_date:%Y-%m-%d %H:%M:%S} "
        assert text.startswith(begin + (f"{zone.key}]" if own else ""))
        assert own or type(zone).__name__ in text or str(zone) in text


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_is_described_by_its_own_text(name):
    job = make_job(TRIGGERS[name], RUN_TIME)
    for protocol in PROTOCOLS:
        info = described(job, protocol)
        assert info.unreadable is None
        assert_text(info.trigger, job.trigger)
        assert about_state(pickle.dumps(job.__getstate__(), protocol)) == about_job(job)
    assert_text(describe_job(job).trigger, job.trigger)


def test_states_that_apscheduler_wrote_are_described_as_their_jobs_are():
    for _, state in read():
        job = restored(state)
        info = describe({"_id": job.id, "next_run_time": 1.5, "job_state": state})
        live = describe_job(job)
        assert about_state(state) == about_job(job)
        assert_text(info.trigger, job.trigger)
        assert_text(live.trigger, job.trigger)
        assert (info.id, info.name, info.func) == (job.id, job.name, job.func_ref)
        assert (info.args, info.kwargs) == (repr(job.args), repr(job.kwargs))
        assert info.executor == job.executor
        assert info.misfire_grace_time == job.misfire_grace_time
        assert info.coalesce is job.coalesce
        assert info.max_instances == job.max_instances
        assert info.unreadable is None
        assert info.bytes == len(state)
        live = live._replace(bytes=len(state), next_run_time=info.next_run_time)
        assert info._replace(trigger=live.trigger) == live


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_trigger_of_another_class_is_described_by_its_class(protocol):
    for trigger in (Never("secret"), Rarely(minute=5, timezone="UTC")):
        job = make_job(trigger, RUN_TIME)
        expected = f"{__name__}:{type(trigger).__name__}"
        for info in (described(job, protocol), describe_job(job)):
            assert (info.trigger, info.unreadable) == (expected, None)
        state = pickle.dumps(job.__getstate__(), protocol)
        assert about_state(state) == about_job(job)
        assert about_state(state).trigger == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_trigger_of_another_class_in_one_of_apscheduler_runs_nothing(protocol):
    job = make_job(OrTrigger([Never("secret"), CronTrigger(hour=1, timezone="UTC")]), RUN_TIME)
    infos = described(job, protocol), describe_job(job)
    for info in infos:
        assert f"{__name__}:Never" in info.trigger
        assert "cron[hour='1']" in info.trigger
    assert infos[0].trigger == infos[1].trigger


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fast_cron_trigger_is_described_as_the_stock_one(protocol):
    fast = triggers.CronTrigger(minute="*/5", hour="8-18", timezone=timezone.utc)
    job = make_job(fast, RUN_TIME)
    for info in (described(job, protocol), describe_job(job)):
        assert info.trigger == "cron[hour='8-18', minute='*/5']"
    assert about_state(pickle.dumps(job.__getstate__(), protocol)) == about_job(job)


def test_the_run_time_of_a_document_is_in_force():
    job = make_job(TRIGGERS[next(iter(TRIGGERS))], RUN_TIME)
    info = described(job, next_run_time=(RUN_TIME + timedelta(days=1)).timestamp())
    assert info.next_run_time == RUN_TIME + timedelta(days=1)
    assert info.next_run_time.tzinfo is timezone.utc
    assert not info.paused
    assert described(job).next_run_time is None
    assert described(job).paused

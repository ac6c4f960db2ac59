"""Both indexes place run times of every kind exactly, to the microsecond."""

from datetime import datetime, timedelta, timezone, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler.util import datetime_to_utc_timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from support.indexes import Slotted
from support.memory_stores import INDEXES

UTC = timezone.utc
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(params=INDEXES)
def index(request):
    return INDEXES[request.param]()


class Fixed(tzinfo):
    """A zone with one offset of any fraction of a second, or without an offset (None)."""

    def __init__(self, offset):
        self.offset = offset

    def utcoffset(self, moment):
        return self.offset


def is_due(index_class, run_time, now):
    index = index_class()
    index.add(Slotted("a", run_time))
    return len(index.due(now)) == 1


def check_exact(run_time, in_utc):
    """Assert that a job is due at that moment, and not a microsecond before it."""
    for index_class in INDEXES.values():
        assert is_due(index_class, run_time, in_utc)
        if in_utc.replace(tzinfo=None) > datetime.min:
            assert not is_due(index_class, run_time, in_utc - MICROSECOND)


@given(st.datetimes())
@example(datetime.min)
@example(datetime.max)
@example(datetime(1970, 1, 1))
@example(datetime(1969, 12, 31, 23, 59, 59, 999999))
@example(datetime(2000, 2, 29, 23, 59, 59, 999999))
@example(datetime(1900, 3, 1))
@example(datetime(2242, 3, 16, 12, 56, 31, 999999))
def test_naive_and_utc_times_are_exact_in_all_years(naive):
    check_exact(naive, naive.replace(tzinfo=UTC))
    check_exact(naive.replace(tzinfo=UTC), naive.replace(tzinfo=UTC))
    check_exact(naive.replace(tzinfo=Fixed(None)), naive.replace(tzinfo=UTC))


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    st.timedeltas(timedelta(hours=-24) + MICROSECOND, timedelta(hours=24) - MICROSECOND),
)
@example(datetime(2030, 1, 1), timedelta(hours=-24) + MICROSECOND)
@example(datetime(2030, 1, 1), MICROSECOND)
def test_every_offset_is_exact(naive, offset):
    in_utc = (naive - offset).replace(tzinfo=UTC)
    check_exact(naive.replace(tzinfo=Fixed(offset)), in_utc)
    check_exact(naive.replace(tzinfo=timezone(offset)), in_utc)


@given(
    st.datetimes(
        datetime(1950, 1, 1),
        datetime(2100, 1, 1),
        timezones=st.sampled_from(
            ["Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Africa/Monrovia"]
        ).map(ZoneInfo),
    ),
    st.sampled_from([0, 1]),
)
def test_named_zones_are_exact_in_both_folds(run_time, fold):
    run_time = run_time.replace(fold=fold)
    check_exact(run_time, run_time.astimezone(UTC))


def test_fold_distinguishes_the_two_hours_of_a_clock_change(index):
    for fold in (0, 1):
        twice = datetime(2030, 10, 27, 3, 30, tzinfo=ZoneInfo("Europe/Helsinki"), fold=fold)
        index.add(Slotted(f"fold {fold}", twice))
    middle = datetime(2030, 10, 27, 1, 0, tzinfo=UTC)
    assert [job.id for job in index.due(middle)] == ["fold 0"]
    assert [job.id for job in index.due(middle + timedelta(minutes=30))] == ["fold 0", "fold 1"]


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)))
def test_pytz_zones_are_exact(naive):
    run_time = pytz.timezone("America/New_York").localize(naive)
    check_exact(run_time, run_time.astimezone(UTC))
    check_exact(pytz.utc.localize(naive), naive.replace(tzinfo=UTC))


@given(st.datetimes(datetime(1697, 10, 18), datetime(2242, 3, 15), timezones=st.just(UTC)))
def test_both_stores_distinguish_microseconds_within_the_exact_range_of_floats(moment):
    """The documented bounds: outside them the stock store rounds times."""
    later = moment + MICROSECOND
    assert datetime_to_utc_timestamp(moment) < datetime_to_utc_timestamp(later)
    assert not is_due(INDEXES["compiled"], later, moment)


def test_stock_store_rounds_times_outside_the_exact_range_of_floats():
    for moment in (datetime(2242, 3, 16, 12, 56, 32, 3), datetime(1697, 10, 17, 11, 3, 27, 3)):
        exact = Fraction((moment - datetime(1970, 1, 1)) // MICROSECOND, 10**6)
        assert Fraction(datetime_to_utc_timestamp(moment)) != exact
        neighbours = [datetime_to_utc_timestamp(moment + i * MICROSECOND) for i in range(-3, 4)]
        assert len(set(neighbours)) < 7


@pytest.mark.parametrize(
    ("naive", "hours"), [(datetime.min, 1), (datetime.max, -1), (datetime(1, 1, 1, 5), 23)]
)
def test_time_outside_the_years_1_to_9999_in_utc_raises_overflow_error(index, naive, hours):
    beyond = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(OverflowError):
        datetime_to_utc_timestamp(beyond)  # the stock store calls this
    with pytest.raises(OverflowError, match="next_run_time of job 'a' is outside the years"):
        index.add(Slotted("a", beyond))
    with pytest.raises(OverflowError, match="now is outside the years"):
        index.due(beyond)
    assert len(index) == 0


def test_datetime_subclass_counts_by_its_fields_alone(index):
    class Strange(datetime):
        def utcoffset(self):
            raise AssertionError("the stock store does not call this either")

        def __sub__(self, other):
            raise AssertionError

        year = property(lambda self: 1)

    strange = Strange(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    index.add(Slotted("a", strange))
    assert index.due(datetime(2030, 1, 1, 10, tzinfo=UTC))
    assert not index.due(datetime(2030, 1, 1, 9, 59, 59, 999999, tzinfo=UTC))
    assert datetime_to_utc_timestamp(Strange(2030, 1, 1, tzinfo=UTC)) == 1893456000

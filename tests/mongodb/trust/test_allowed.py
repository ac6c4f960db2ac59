"""States and functions of the application are allowed, and what APScheduler's own states name."""

import pickle
import sys
from collections import OrderedDict
from datetime import datetime, timedelta, timezone
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from dateutil import tz

from jobstore.mongodb.trust.allowed import Allowed
from jobstore.mongodb.trust.untrusted import UntrustedError
from jobstore.run_times import UnreadableError
from jobstore.triggers import CronTrigger
from support import allowed_target
from support.allowed_target import Both, Colour, Every, Order, Registry
from support.opcodes import STOP, called, named, plain, text
from support.states import make_job

try:
    from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
except ImportError:  # before APScheduler 3.11
    CalendarIntervalTrigger = None

TARGET = allowed_target.__name__
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
NOTHING = Allowed([])
OWN = Allowed(["support.*"])

PYTZ_BERLIN = pytz.timezone("Europe/Berlin")
ZONES = {
    "UTC": timezone.utc,
    "an offset": timezone(timedelta(hours=2), "X"),
    "ZoneInfo": BERLIN,
    "ZoneInfo without a cache": ZoneInfo.no_cache("America/Argentina/Buenos_Aires"),
    "ZoneInfo with a sign": ZoneInfo("Etc/GMT+3"),
    "UTC of pytz": pytz.utc,
    "pytz": PYTZ_BERLIN,
    "pytz in winter": PYTZ_BERLIN.localize(datetime(2026, 1, 1)).tzinfo,
    "pytz without summer": pytz.timezone("Etc/GMT+3"),
    "an offset of pytz": pytz.FixedOffset(90),
}
LIMITS = {"start_date": NOW, "end_date": NOW + timedelta(days=9), "jitter": 5}
CRON = {
    "year": "2026-2030",
    "month": "jan-mar,5",
    "day": "last,2nd fri,1-5/2",
    "week": "1-40",
    "day_of_week": "mon-fri",
    "hour": "*/2",
}
TRIGGERS = {
    "interval": lambda: IntervalTrigger(hours=1, timezone=BERLIN, **LIMITS),
    "interval in UTC": lambda: IntervalTrigger(weeks=1, timezone=timezone.utc),
    "cron": lambda: StockCronTrigger(**CRON, timezone=BERLIN, **LIMITS),
    "fast cron": lambda: CronTrigger(**CRON, timezone=BERLIN, **LIMITS),
    "cron by a crontab": lambda: StockCronTrigger.from_crontab("*/5 8-18 * * 1-5", BERLIN),
    "date": lambda: DateTrigger(NOW),
    "date in a zone": lambda: DateTrigger("2026-11-29 12:00:00", BERLIN),
    "and": lambda: AndTrigger([TRIGGERS["cron"](), TRIGGERS["interval"]()], jitter=3),
    "or in and": lambda: AndTrigger([OrTrigger([TRIGGERS["date"]()]), TRIGGERS["fast cron"]()]),
}
if CalendarIntervalTrigger is not None:
    TRIGGERS["calendar interval"] = lambda: CalendarIntervalTrigger(
        months=1, hour=3, timezone=BERLIN, start_date=NOW.date(), end_date=NOW.date()
    )
PLAIN = [
    (None, True, 5, 2**99, 1.5, "text", b"bytes", b"", bytearray(b"\xff"), bytearray()),
    {"a": [{1, 2}, frozenset([3]), complex(1, 2), range(1, 9, 2), slice(1, 2)]},
    [NOW, NOW.date(), NOW.time(), timedelta(5, 6, 7), NOW.replace(tzinfo=BERLIN, fold=1)],
    [object],
]
PROTOCOLS = range(6)


def dumped(value, protocol):
    """Pickle a value; a class with slots and no state of its own can't be by protocols 0 and 1."""
    try:
        return pickle.dumps(value, protocol)
    except TypeError:
        assert protocol < 2
        return None


def assert_loads(allowed, state):
    """Assert that a state gives the same as `pickle.loads`, down to the last class."""
    loaded = allowed.loads(state)
    expected = pickle.loads(state)
    assert type(loaded) is type(expected)
    protocol = pickle.HIGHEST_PROTOCOL
    assert pickle.dumps(loaded, protocol) == pickle.dumps(expected, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
def test_each_trigger_of_apscheduler_is_always_allowed(trigger, protocol):
    state = dumped(trigger(), protocol)
    if state is not None:
        assert_loads(NOTHING, state)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("zone", ZONES.values(), ids=ZONES)
def test_zones_are_always_allowed(zone, protocol):
    state = pickle.dumps({"zone": zone, "time": datetime.now(zone)}, protocol)
    assert_loads(NOTHING, state)
    if zone is not ZONES["ZoneInfo without a cache"]:
        assert NOTHING.loads(pickle.dumps(zone, protocol)) in (zone, zone)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_zones_of_dateutil_need_a_pattern(protocol):
    zones = [tz.UTC, tz.tzoffset("X", 3600), tz.tzlocal(), tz.gettz("Europe/Berlin")]
    for zone in zones:
        state = pickle.dumps([zone], protocol)
        assert_loads(Allowed(["dateutil.tz.*"]), state)
        with pytest.raises(UntrustedError, match=r"dateutil\.tz"):
            OWN.loads(state)


def test_zones_of_the_shim_are_always_allowed(monkeypatch):
    """`tzlocal` returned such zones for some years."""
    made = []
    module = ModuleType("pytz_deprecation_shim._impl")
    module.wrap_zone = lambda *args: made.append(args)
    monkeypatch.setitem(sys.modules, "pytz_deprecation_shim", ModuleType("pytz_deprecation_shim"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    function = named(module.__name__, "wrap_zone")
    NOTHING.loads(called(function, plain(BERLIN), text("Europe/Berlin")) + STOP)
    assert made == [(BERLIN, "Europe/Berlin")]
    with pytest.raises(UntrustedError, match="it calls pytz_deprecation_shim"):
        NOTHING.loads(called(function, text("Europe/Berlin"), text("Europe/Berlin")) + STOP)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_values_are_always_allowed(value, protocol):
    assert NOTHING.loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_allowed_classes_and_functions_are_unpickled(protocol):
    value = [
        Order(5),
        Order.Line if protocol > 3 else Order,  # earlier ones call `getattr`
        Colour.RED,
        allowed_target.send,
        Every(5).__getstate__(),
        Order,
        allowed_target.cached,
    ]
    assert OWN.loads(pickle.dumps(value, protocol)) == value
    registry = Registry(a=1)
    if protocol > 1:  # earlier ones name `dict` itself
        loaded = OWN.loads(pickle.dumps(registry, protocol))
        assert type(loaded) is Registry
        assert loaded == registry


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_combining_trigger_of_the_application_is_unpickled(protocol):
    state = pickle.dumps(Both([Every(7), OrTrigger([Every(8)])]), protocol)
    loaded = OWN.loads(state)
    assert type(loaded) is Both
    assert [type(each) for each in loaded.triggers] == [Every, OrTrigger]
    assert loaded.triggers[1].triggers[0].seconds == 8
    with pytest.raises(UntrustedError, match=r"support\.allowed_target:Both, which allow doesn't"):
        NOTHING.loads(state)


def test_a_trigger_within_another_must_be_allowed():
    state = pickle.dumps(AndTrigger([Every(7)]))
    assert OWN.loads(state).triggers[0].seconds == 7
    with pytest.raises(UntrustedError, match=r"support\.allowed_target:Every, which allow doesn't"):
        NOTHING.loads(state)


@pytest.mark.parametrize(
    "func",
    [
        "send",
        "Order",
        "Order.send",
        "Order.total",
        "Order.first",
        "Order.Line",
        "Colour.favourite",
        "Watched.mine",
        "cached",
    ],
)
def test_a_function_of_the_application_is_allowed(func):
    Allowed(["support.*"]).check_func(f"{TARGET}:{func}")
    Allowed(["nothing", f"{TARGET}:{func}"]).check_func(f"{TARGET}:{func}")
    with pytest.raises(UntrustedError, match=f"it names {TARGET}:{func}, which allow doesn't"):
        Allowed(["Support.*", "support", f"{TARGET}:", "supporter.*"]).check_func(
            f"{TARGET}:{func}"
        )


def test_the_function_of_a_state_is_checked():
    state = make_job(IntervalTrigger(hours=1, timezone=BERLIN), NOW).__getstate__()
    loaded = OWN.load_job(pickle.dumps(state))
    assert loaded["func"] == "support.states:work"
    with pytest.raises(UntrustedError, match=r"it names os:system \(posix:system\)"):
        OWN.load_job(pickle.dumps({**state, "func": "os:system"}))


@pytest.mark.parametrize("state", [Registry(func="support.states:work"), [], {5: 6}, None])
def test_a_state_of_another_form_is_none_of_a_job(state):
    with pytest.raises(UnreadableError, match="not that of a job"):
        OWN.load_job(pickle.dumps(state))


def test_a_function_that_is_checked_again_may_have_been_replaced(monkeypatch):
    allowed = Allowed(["support.*"])
    allowed.check_func(f"{TARGET}:send")
    monkeypatch.setattr(allowed_target, "send", print)
    with pytest.raises(UntrustedError, match=r"send \(builtins:print\), which allow doesn't"):
        allowed.check_func(f"{TARGET}:send")


def test_patterns_allow_what_is_narrow_otherwise():
    value = [bytes, bytearray, 5, "text".upper, BERLIN]
    loaded = Allowed(["*"]).loads(pickle.dumps(value))
    assert loaded[:2] == [bytes, bytearray]
    assert loaded[3]() == "TEXT"
    assert loaded[4] is BERLIN
    ordered = OrderedDict(a=1)
    assert Allowed(["collections:*"]).loads(pickle.dumps(ordered, 2)) == ordered


def test_a_module_that_does_not_exist_is_an_error_as_without_patterns():
    with pytest.raises(LookupError, match="could not import module"):
        Allowed(["gone.*"]).check_func("gone.module:func")
    with pytest.raises(ModuleNotFoundError):
        Allowed(["gone.*"]).loads(b"cgone.module\nfunc\n.")

"""What isn't allowed is refused in plain words; none of it is looked up, called or changed."""

import pickle
import sys
import time
from datetime import datetime, timezone

import pytest
import pytz
from apscheduler.job import Job
from apscheduler.triggers.combining import AndTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.mongodb.trust.allowed import Allowed
from jobstore.mongodb.trust.untrusted import UntrustedError
from jobstore.run_times import UnreadableError
from support import allowed_target
from support.allowed_target import Colour, Every, Order, Own
from support.opcodes import (
    FIELDS,
    STOP,
    called,
    dict_of,
    list_of,
    made,
    named,
    named_by_texts,
    number,
    plain,
    state_of,
    text,
    tuple_of,
)

TARGET = allowed_target.__name__
ALLOWED = Allowed(["support.*"])
TRUE = b"\x88"
AND = named("apscheduler.triggers.combining", "AndTrigger")


def target(name):
    return named_by_texts(TARGET, name)


def in_combining(*references, state=b"}", cls=AND):
    """Make a combining trigger whose state names classes by texts."""
    triggers = list_of(*(tuple_of(text(each), state) for each in references))
    return made(cls, state_of(version=number(1), triggers=triggers, jitter=b"N"))


@pytest.fixture(autouse=True)
def nothing_is_looked_up():
    allowed_target.lost.clear()
    modules = set(sys.modules)
    yield
    # Python asks each module for its `__path__` when something is imported from it.
    assert [name for name in allowed_target.lost if name != "__path__"] == []
    assert {name for name in set(sys.modules) - modules if "pytz" not in name} == set()
    assert allowed_target.SETTINGS == {"debug": False}
    assert "__setstate__" not in vars(Order)
    assert vars(allowed_target.send) == {}
    assert Colour.RED.value == 1


FUNCS = {
    "os:system": r"it names os:system \(posix:system\), which allow doesn't match",
    "posix:system": "it names posix:system, which allow doesn't match",
    "this:s": "it names this:s, which allow doesn't match",
    "gone.module:func": "it names gone.module:func, which allow doesn't match",
    f"{TARGET}:time_alias": r":time_alias \(time:sleep\), which allow doesn't match",
    f"{TARGET}:time.sleep": r":time.sleep \(time:sleep\), which allow doesn't match",
    f"{TARGET}:paths.join": r":paths.join \(posixpath:join\), which allow doesn't match",
    f"{TARGET}:functools.os.system": "which is not found",
    f"{TARGET}:Order.sleep": r":Order.sleep \(time:sleep\), which allow doesn't match",
    f"{TARGET}:wrapped": r":wrapped \(time:sleep\), which allow doesn't match",
    f"{TARGET}:AndTrigger": r"\(apscheduler.triggers.combining:AndTrigger\), which allow doesn't",
    f"{TARGET}:gone": "which is not found",
    f"{TARGET}:Order.gone": "which is not found",
    f"{TARGET}:Order.send.__globals__": "which is not found",
    f"{TARGET}:Order.__class__": "which is not found",
    f"{TARGET}:Order.__dict__": "which is not found",
    f"{TARGET}:Order.mro": r"which is not found",
    f"{TARGET}:Order.bound": "which is not found",
    f"{TARGET}:Order.bound_class_method": "which is not found",
    f"{TARGET}:Order.price": "which is no class or function",
    f"{TARGET}:Watched.gone": "which is not found",
    f"{TARGET}:Watched.computed": "which is not found",
    f"{TARGET}:Guarded.mine": "which is not found",
    f"{TARGET}:SETTINGS": "which is no class or function",
    f"{TARGET}:SETTINGS.get": "which is not found",
    f"{TARGET}:HALF": "which is no class or function",
    f"{TARGET}:UPPER": "which is no class or function",
    f"{TARGET}:Colour.RED": "which is no class or function",
    f"{TARGET}:time": "which is no class or function",
    f"{TARGET}:__builtins__": "which is no class or function",
    "support:allowed_target": "which is no class or function",
    "support:allowed_target.send": "an attribute of a class in a package",
    "support.__main__:run": "which is no importable name",
    "": "it names :, which is no importable name",
    ":": "which is no importable name",
    "send": "it names send:, which is no importable name",
    f"{TARGET}:": "which is no importable name",
    ":send": "which is no importable name",
    "..": "which is no importable name",
    ".support:send": "which is no importable name",
    "support..allowed_target:send": "which is no importable name",
    "a:b:c": "which is no importable name",
    f"{TARGET}:*": "which is no importable name",
    f"{TARGET}:send\n": r"send\\n, which is no importable name",
    f"{TARGET}\0:send": r"\\x00:send, which is no importable name",
    "support/allowed_target:send": "which is no importable name",
    f"{TARGET}:<lambda>": "which is no importable name",
    f"{TARGET}:Order.<locals>.send": "which is no importable name",
    f"{TARGET}:\x1b[2J": r":\\x1b\[2J, which is no importable name",
    f"{TARGET}:\ud800": r"\\ud800, which is no importable name",
    "x" * 99_999: "it names x{200}, which is no importable name",
}


@pytest.mark.parametrize("ref", FUNCS, ids=range(len(FUNCS)))
def test_a_function_that_is_not_allowed_is_refused_by_its_name(ref):
    with pytest.raises(UntrustedError, match=FUNCS[ref]) as raised:
        ALLOWED.check_func(ref)
    assert str(raised.value).isascii()
    assert len(str(raised.value)) < 600


class Text(str):
    """A text that could be another one the next time."""

    __slots__ = ()


@pytest.mark.parametrize("ref", [None, 5, b"os:system", Text(f"{TARGET}:send"), ["a"], print])
def test_a_function_that_is_named_by_no_text_is_refused(ref):
    with pytest.raises(UntrustedError, match="an object that is no text"):
        ALLOWED.check_func(ref)


@pytest.mark.parametrize(
    ("patterns", "func"),
    [
        ([], "support.jobs:note"),
        (["support"], "support.jobs:note"),
        (["Support.*"], "support.jobs:note"),
        (["support.jobs"], "support.jobs:note"),
        (["support.jobs.*"], "support.jobs:note"),
        (["support.jobs:no"], "support.jobs:note"),
        (["upport.*"], "support.jobs:note"),
        (["support.jobs:note."], "support.jobs:note"),
        (["*:send"], "os:system"),
    ],
)
def test_a_pattern_matches_whole_names_only(patterns, func):
    with pytest.raises(UntrustedError, match="which allow doesn't match"):
        Allowed(patterns).check_func(func)


SYSTEM = named("os", "system")
RECONSTRUCTOR = named("copyreg", "_reconstructor")
GETATTR = named("builtins", "getattr")
OBJECT = named("builtins", "object")
BERLIN = called(named("pytz", "_p"), text("Europe/Berlin"))

STATES = {
    "a function of the system": (called(SYSTEM, text("true")), r"it names os:system \(posix:sys"),
    "a function that is not called": (SYSTEM, r"it names os:system \(posix:system\)"),
    "a module that is not imported": (named("this", "s"), "it names this:s, which allow doesn't"),
    "a dotted name": (named_by_texts(TARGET, "time.sleep"), r"\(time:sleep\), which allow doesn't"),
    "a name of Python 2": (
        named("__builtin__", "execfile"),
        "it names __builtin__:execfile, which allow",
    ),
    "eval": (named("builtins", "eval"), "it names builtins:eval, which allow doesn't match"),
    "type": (called(named("builtins", "type"), number(1)), "it names builtins:type, which allow"),
    "a codec": (
        called(named("_codecs", "encode"), text("x"), text("idna")),
        "it calls _codecs:encode with other arguments than APScheduler's jobs have",
    ),
    "bytes of a number": (
        called(named("builtins", "bytes"), plain(2**40)),
        "it calls builtins:bytes with other arguments",
    ),
    "a bytearray of a codec": (
        called(named("builtins", "bytearray"), text("x"), text("idna")),
        "it calls builtins:bytearray with other arguments",
    ),
    "an attribute": (
        called(GETATTR, target("send"), text("__globals__")),
        "it calls builtins:getattr with other arguments",
    ),
    "an attribute of a zone": (
        called(GETATTR, named("zoneinfo", "ZoneInfo"), text("from_file")),
        "it calls builtins:getattr with other arguments",
    ),
    "a zone outside": (
        called(
            called(GETATTR, named("zoneinfo", "ZoneInfo"), text("_unpickle")),
            text("../../etc/passwd"),
            TRUE,
        ),
        "it calls zoneinfo:ZoneInfo._unpickle with other arguments",
    ),
    "a zone itself": (
        called(named("zoneinfo", "ZoneInfo"), text("Europe/Berlin")),
        "it calls zoneinfo:ZoneInfo with other arguments",
    ),
    "a zone of an object": (
        called(named("pytz", "_p"), called(target("Order"))),
        "it calls pytz:_p with other arguments",
    ),
    "a reconstructed dict": (
        called(RECONSTRUCTOR, target("Registry"), OBJECT, b"}"),
        "it calls copyreg:_reconstructor with other arguments",
    ),
    "a reconstruction of no class": (
        called(RECONSTRUCTOR, target("send"), OBJECT, b"N"),
        "it calls copyreg:_reconstructor with other arguments",
    ),
    "an extension code": (b"\x82\x05", "by an extension code, which allow can't check"),
    "a state of a class": (target("Order") + state_of(a=TRUE) + b"b", "changes a class or a func"),
    "slots of a class": (
        target("Order") + tuple_of(b"N", state_of(send=target("send"))) + b"b",
        "its state changes a class or a function",
    ),
    "a state of a function": (target("send") + state_of(a=TRUE) + b"b", "changes a class or a f"),
    "slots of a function": (
        target("send") + tuple_of(b"N", state_of(__defaults__=tuple_of(b"N"))) + b"b",
        "its state changes a class or a function",
    ),
    "a state of a memoized class": (
        target("Order") + b"\x94" + text("x") + b"0h\0" + state_of(a=TRUE) + b"b",
        "its state changes a class or a function",
    ),
    "a state of a class that a function returns": (
        called(target("order_class")) + state_of(a=TRUE) + b"b",
        "it changes the result of support.allowed_target:order_class",
    ),
    "items of a dict that a function returns": (
        called(target("settings")) + text("debug") + TRUE + b"s",
        "it changes the result of support.allowed_target:settings",
    ),
    "a state of an enum's member": (
        called(target("Colour"), number(1)) + state_of(_value_=number(2)) + b"b",
        "it changes an object of support.allowed_target:Colour, which others share",
    ),
    "a state of a member by a method": (
        called(target("Colour.favourite")) + state_of(_value_=number(2)) + b"b",
        "it changes the result of support.allowed_target:Colour.favourite",
    ),
    "a state of what a result returns": (
        called(called(target("order_class"))) + state_of(a=TRUE) + b"b",
        "the result of a call that has no name",
    ),
    "a state of a zone": (
        BERLIN + state_of(_tzinfos=b"}") + b"b",
        "it changes the result of pytz:_p",
    ),
    "a state of UTC": (
        called(named("pytz", "_UTC")) + state_of(zone=b"N") + b"b",
        "it changes the result of pytz:_UTC",
    ),
    "a state of a method of zones": (
        called(GETATTR, named("zoneinfo", "ZoneInfo"), text("_unpickle")) + b"}b",
        "it changes the result of builtins:getattr",
    ),
    "a state of a time": (
        called(named("datetime", "timedelta"), number(1)) + b"}b",
        "it changes the result of datetime:timedelta",
    ),
    "a trigger by a text": (in_combining("os:system"), r"it names os:system \(posix:system\)"),
    "a trigger by a text to import": (in_combining("this:s"), "it names this:s, which allow"),
    "a trigger within a trigger": (
        in_combining(
            "apscheduler.triggers.combining:OrTrigger",
            state=state_of(triggers=list_of(tuple_of(text("os:system"), b"}")), jitter=b"N"),
        ),
        r"it names os:system \(posix:system\)",
    ),
    "a trigger in a combining trigger of one's own": (
        in_combining("os:system", cls=target("Both")),
        r"it names os:system \(posix:system\)",
    ),
    "a trigger in a trigger's second state": (
        in_combining("apscheduler.triggers.interval:IntervalTrigger", state=b"N")[:-1]
        + b"0"
        + in_combining()
        + state_of(triggers=list_of(tuple_of(text("os:system"), b"}")), jitter=b"N")
        + b"b",
        r"it names os:system \(posix:system\)",
    ),
    "a trigger in a reconstructed trigger": (
        called(RECONSTRUCTOR, AND, OBJECT, b"N")
        + state_of(triggers=list_of(tuple_of(text("os:system"), b"}")), jitter=b"N")
        + b"b",
        r"it names os:system \(posix:system\)",
    ),
    "a trigger by no text": (
        made(AND, state_of(triggers=list_of(tuple_of(number(1), b"}")), jitter=b"N")),
        "an object that is no text",
    ),
    "triggers of another form": (
        made(AND, state_of(triggers=called(target("Registry")), jitter=b"N")),
        "the state of its combining trigger is none that APScheduler writes",
    ),
    "a state of another form": (
        made(AND, called(target("Registry"))),
        "the state of its combining trigger is none that APScheduler writes",
    ),
    "a key of another form": (
        made(AND, dict_of([(number(1), b"N"), (text("triggers"), b"]")])),
        "the state of its combining trigger is none that APScheduler writes",
    ),
    "a trigger that reads its state itself": (
        made(target("Own"), state_of(inner=state_of(triggers=b"]", jitter=b"N"))),
        "a combining trigger with a __setstate__ of its own, which allow can't check",
    ),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("place", ["the whole", "an argument", "popped"])
def test_a_state_that_is_not_allowed_is_refused_in_plain_words(name, place):
    value, reason = STATES[name]
    if place == "the whole":
        state = b"\x80\x04" + value + STOP
    elif place == "an argument":
        value = value.replace(b"\x94", b"q\0")
        state = b"\x80\x04" + state_of(id=text("an id"), args=tuple_of(value)) + STOP
    else:
        state = b"\x80\x04" + value + b"0N" + STOP
    with pytest.raises(UnreadableError, match=reason) as raised:
        ALLOWED.loads(state)
    assert str(raised.value).isascii()


def test_a_second_state_can_name_no_other_trigger():
    """Once it has a state, a trigger could be of APScheduler's class, which checks nothing."""
    first = state_of(triggers=b"]", jitter=b"N") + b"b"
    second = state_of(triggers=list_of(tuple_of(text("this:s"), b"}")), jitter=b"N") + b"b"
    with pytest.raises(UntrustedError, match="it names this:s"):
        ALLOWED.loads(b"\x80\x04" + AND + b")\x81" + first + second + STOP)


def test_a_combining_trigger_ends_as_one_of_apschedulers_class():
    loaded = ALLOWED.loads(pickle.dumps([AndTrigger([Every(3)])] * 2))
    assert type(loaded[0]) is AndTrigger
    assert loaded[0] is loaded[1]


def test_deep_triggers_are_refused():
    state = {"triggers": [], "jitter": None}
    for _ in range(60):
        state = {
            "triggers": [("apscheduler.triggers.combining:OrTrigger", state)],
            "jitter": None,
        }
    with pytest.raises(UntrustedError, match="none that APScheduler writes"):
        ALLOWED.loads(b"\x80\x04" + AND + b")\x81" + plain(state) + b"b.")


def test_a_class_that_reads_its_state_itself_is_refused_by_a_text():
    state = pickle.dumps(AndTrigger([Own([IntervalTrigger(days=1, timezone=timezone.utc)])]))
    with pytest.raises(UntrustedError, match="a __setstate__ of its own"):
        ALLOWED.loads(state)


def test_shared_zones_stay_as_they_are():
    berlin = pytz.timezone("Europe/Berlin")
    before = dict(vars(berlin))
    for name in ("a state of a zone", "a state of UTC"):
        with pytest.raises(UntrustedError):
            ALLOWED.loads(b"\x80\x04" + STATES[name][0] + STOP)
    assert vars(berlin) == before
    assert pytz.utc.zone == "UTC"


def test_a_job_within_a_state_is_refused_whatever_is_allowed():
    """APScheduler imports the function that its state names."""
    job = Job.__new__(Job)
    state = b"\x80\x04" + made(named("apscheduler.job", "Job"), state_of(**FIELDS)) + STOP
    with pytest.raises(UntrustedError, match=r"it names apscheduler\.job:Job"):
        Allowed(["apscheduler.*", "*"]).loads(state)
    assert not hasattr(job, "func")


def test_a_state_may_change_what_a_function_of_the_application_makes():
    value = called(target("new_order")) + state_of(number=number(7)) + b"b"
    assert ALLOWED.loads(b"\x80\x04" + value + STOP).number == 7
    value = called(target("Registry")) + text("a") + number(1) + b"s"
    assert ALLOWED.loads(b"\x80\x04" + value + STOP) == {"a": 1}


def test_a_stand_in_can_not_be_pickled():
    stand_in = ALLOWED.loads(b"\x80\x04" + named("builtins", "bytes") + STOP)
    with pytest.raises(TypeError, match="stand-in"):
        pickle.dumps(stand_in)


def test_states_with_large_parts_are_unpickled():
    """Each part above 64 KiB is outside of all frames."""
    value = [b"x" * 200_000, "y" * 200_000, [bytes([i]) * 300 for i in range(256)], time.sleep]
    now = datetime.now(timezone.utc)
    for protocol in range(6):
        state = pickle.dumps([*value[:3], now], protocol)
        assert ALLOWED.loads(state) == [*value[:3], now]


@pytest.mark.parametrize("state", [b"", b"N", b"\x80\x04", b"garbage", b"\x80\x09N."])
def test_a_damaged_state_is_unreadable(state):
    with pytest.raises(UnreadableError):
        ALLOWED.loads(state)

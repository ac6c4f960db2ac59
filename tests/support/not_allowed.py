"""Functions and states that `allow=["support.*"]` refuses, each with a pattern of the reason."""

from support import allowed_target
from support.opcodes import (
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
TRUE = b"\x88"
AND = named("apscheduler.triggers.combining", "AndTrigger")


def target(name):
    return named_by_texts(TARGET, name)


def in_combining(*references, state=b"}", cls=AND):
    """Make a combining trigger whose state names classes by texts."""
    triggers = list_of(*(tuple_of(text(each), state) for each in references))
    return made(cls, state_of(version=number(1), triggers=triggers, jitter=b"N"))


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
    "a class of an allowed metaclass, from a function": (
        called(target("watched_class")) + tuple_of(b"N", state_of(mine=target("send"))) + b"b",
        "it changes the result of support.allowed_target:watched_class",
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
    "a second state": (
        called(target("Order"))
        + tuple_of(b"N", state_of(__dict__=called(target("settings"))))
        + b"b"
        + state_of(debug=TRUE)
        + b"b",
        "its state gives an object two states",
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

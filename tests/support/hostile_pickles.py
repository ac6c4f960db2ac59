"""Hostile pickles: calls, names, and opcodes that no pickler writes, each pushing one value."""

import struct

from support.opcodes import (
    called,
    dict_of,
    list_of,
    made,
    named,
    named_by_texts,
    number,
    plain,
    raw,
    state_of,
    text,
    tuple_of,
)

EXTENSIONS = {201: "registered", 202: "cached", 4000: "cached", 2**24: "cached"}

TARGET = named("support.hostile_target", "Target")
FUNCTION = named("support.hostile_target", "function")
HOSTILE = called(FUNCTION)
SYSTEM = named("os", "system")
SHELL = text("echo run by a pickle >&2")
DATETIME = named("datetime", "datetime")
RIGHT = bytes([7, 246, 1, 1, 0, 0, 0, 0, 0, 0])  # a datetime's bytes

CALLS = {
    "os.system": called(SYSTEM, SHELL),
    "os.system, by texts": called(named_by_texts("os", "system"), SHELL),
    "posix.system": called(named("posix", "system"), SHELL),
    "eval": called(named("builtins", "eval"), text("__import__('os').abort()")),
    "exec, of Python 2": called(named("__builtin__", "execfile"), text("/etc/passwd")),
    "an import": called(named("importlib", "import_module"), text("this")),
    "a process": called(named("subprocess", "Popen"), list_of(text("true"))),
    "a file": called(named("io", "open"), text("/etc/passwd")),
    "a call of a call": called(called(named("builtins", "getattr"), TARGET, text("x")), text("y")),
    "a call without a tuple": FUNCTION + text("x") + b"R",
    "a call of a number": number(5) + b")R",
    "a call of a text": text("os.system") + b")R",
    "an exit": called(named("os", "_exit"), number(3)),
    "a signal": called(named("signal", "raise_signal"), number(9)),
    "a class": called(TARGET),
    "a class of a metaclass": called(named("support.hostile_target", "Watched")),
    "a reconstructed object": called(
        named("copyreg", "_reconstructor"), TARGET, named("builtins", "object"), b"N"
    ),
    "a reconstructed object of Python 2": called(
        named("copy_reg", "_reconstructor"), TARGET, named("__builtin__", "object"), b"N"
    ),
    "copyreg.__newobj__": called(named("copyreg", "__newobj__"), TARGET),
    "BUILD of a dict": made(TARGET, state_of(a=number(1))),
    "BUILD of slots": made(TARGET, tuple_of(b"N", state_of(__class__=FUNCTION))),
    "BUILD of a number": made(TARGET, number(1)),
    "BUILD of a class": TARGET + state_of(__setstate__=FUNCTION) + b"b",
    "BUILD of a module's function": FUNCTION + state_of(__code__=SYSTEM) + b"b",
    "BUILD of a text": text("x") + state_of(a=number(1)) + b"b",
    "BUILD of None": b"N" + state_of(a=number(1)) + b"b",
    "BUILD of a dict with a state": b"}" + state_of(a=number(1)) + b"b",
    "INST": b"(" + SHELL + b"ios\nsystem\n",
    "INST of a class": b"(isupport.hostile_target\nTarget\n",
    "INST without a mark": b"ios\nsystem\n",
    "OBJ": b"(" + SYSTEM + SHELL + b"o",
    "OBJ of a class": b"(" + TARGET + b"o",
    "OBJ of nothing": b"(o",
    "OBJ of a number": b"(" + number(5) + b"o",
    "NEWOBJ": TARGET + b")\x81",
    "NEWOBJ of a function": SYSTEM + tuple_of(SHELL) + b"\x81",
    "NEWOBJ without a tuple": TARGET + number(1) + b"\x81",
    "NEWOBJ of a number": number(1) + b")\x81",
    "NEWOBJ_EX": TARGET + b")" + state_of(a=number(1)) + b"\x92",
    "NEWOBJ_EX of a function": SYSTEM + tuple_of(SHELL) + b"}\x92",
    "NEWOBJ_EX with keys of a call": TARGET + b")" + dict_of([(HOSTILE, b"N")]) + b"\x92",
    "NEWOBJ_EX of numbers": number(1) * 3 + b"\x92",
    "a persistent id": b"Pan id\n",
    "a persistent id of a value": HOSTILE + b"Q",
    "a list of a call": list_of(HOSTILE, SYSTEM),
    "a set of calls": b"\x8f(" + HOSTILE + HOSTILE + b"\x90",
    "a frozen set of calls": b"(" + HOSTILE + HOSTILE + b"\x91",
    "a dict of calls": dict_of([(HOSTILE, HOSTILE), (HOSTILE, HOSTILE)]),
    "items of an object": HOSTILE + text("a") + number(1) + b"s",
    "elements of an object": HOSTILE + b"(" + number(1) + b"e",
    "an element of a class": TARGET + number(1) + b"a",
    "members of an object": HOSTILE + b"(" + number(1) + b"\x90",
    **{
        f"EXT of {code}, {kind}": (
            b"\x82" + bytes([code])
            if code < 256
            else b"\x83" + struct.pack("<H", code)
            if code < 65536
            else b"\x84" + struct.pack("<i", code)
        )
        for code, kind in EXTENSIONS.items()
    },
    "EXT of a free code": b"\x82\x07",
    "EXT of zero": b"\x82\0",
    "EXT of a negative code": b"\x84" + struct.pack("<i", -5),
    "EXT, called": called(b"\x82\xca", SHELL),
}

# Calls of data classes, whose arguments would run something, open a file or take gigabytes.
DATA = {
    "a set": called(named("builtins", "set"), list_of(HOSTILE)),
    "a frozenset": called(named("builtins", "frozenset"), list_of(HOSTILE)),
    "a dict": called(named("builtins", "dict"), list_of(tuple_of(HOSTILE, HOSTILE))),
    "an OrderedDict": called(named("collections", "OrderedDict"), list_of(HOSTILE)),
    "items of an OrderedDict": called(named("collections", "OrderedDict")) + HOSTILE * 2 + b"s",
    "a Counter": called(named("collections", "Counter"), dict_of([(HOSTILE, HOSTILE)])),
    "a defaultdict": called(named("collections", "defaultdict"), SYSTEM) + HOSTILE * 2 + b"s",
    "a deque": called(named("collections", "deque"), b")", number(-1)) + HOSTILE + b"a",
    "a bytearray": called(named("builtins", "bytearray"), plain(2**40)),
    "bytes": called(named("builtins", "bytes"), plain(2**40)),
    "a bytearray of an unknown codec": called(
        named("builtins", "bytearray"), text("x"), text("idna")
    ),
    "a range": called(named("builtins", "range"), plain(10**30), HOSTILE),
    "a list of a range": called(
        named("builtins", "list"), called(named("builtins", "range"), plain(10**15))
    ),
    "a complex": called(named("builtins", "complex"), HOSTILE, number(1)),
    "a codec": called(named("_codecs", "encode"), text("x"), text("idna")),
    "a codec of binaries": called(named("_codecs", "encode"), raw(b"x" * 99), text("bz2")),
    "a codec that is no text": called(named("_codecs", "encode"), HOSTILE, HOSTILE),
    "a Decimal": called(named("decimal", "Decimal"), text("1e999999999")),
    "a Decimal of a call": called(named("decimal", "Decimal"), HOSTILE),
    "a Decimal of a number": called(named("decimal", "Decimal"), plain(7**9999)),
    "a Fraction": called(named("fractions", "Fraction"), text("1e99999999")),
    "a UUID": made(named("uuid", "UUID"), state_of(int=HOSTILE)),
    "a UUID of a large number": made(named("uuid", "UUID"), state_of(int=plain(7**9999))),
    "a UUID of no number": made(named("uuid", "UUID"), list_of(number(1))),
    "a partial": called(named("functools", "partial"), SYSTEM, SHELL),
    "a state of a partial": called(named("functools", "partial"), SYSTEM)
    + tuple_of(SYSTEM, tuple_of(SHELL), HOSTILE, number(1))
    + b"b",
    "a bound method": called(named("builtins", "getattr"), HOSTILE, text("append")),
    "a pattern": called(named("re", "_compile"), text("(a*)*" * 30), number(0)),
    "an array": called(
        named("array", "_array_reconstructor"), TARGET, text("d"), plain(2**40), raw(b"")
    ),
    "a timedelta": called(named("datetime", "timedelta"), plain(10**400), HOSTILE),
    "a timedelta of NaN": called(named("datetime", "timedelta"), plain(float("nan"))),
    "a date": called(named("datetime", "date"), raw(b"\xff" * 4)),
    "a date of texts": called(named("datetime", "date"), text("x" * 4)),
    "a time": called(named("datetime", "time"), raw(b"\xff" * 6), HOSTILE),
    "a datetime": called(DATETIME, raw(b"\xff" * 10)),
    "a datetime of the year 0": called(DATETIME, raw(bytes(10))),
    "a datetime of the 32nd": called(DATETIME, raw(RIGHT[:3] + b"\x20" + RIGHT[4:])),
    "a datetime of 255 hours": called(DATETIME, raw(RIGHT[:4] + b"\xff" + RIGHT[5:])),
    "a datetime of too many microseconds": called(DATETIME, raw(RIGHT[:7] + b"\xff\xff\xff")),
    "a datetime of 9 bytes": called(DATETIME, raw(RIGHT[:9])),
    "a datetime of a text": called(DATETIME, text(RIGHT.decode("latin1"))),
    "a datetime of numbers": called(DATETIME, plain(10**30), number(1), number(1)),
    "a datetime of a call": called(DATETIME, HOSTILE),
    "a datetime in a zone that is called": called(DATETIME, raw(RIGHT), HOSTILE),
    "a datetime in a zone that is a number": called(DATETIME, raw(RIGHT), number(1)),
    "a datetime with a state": made(DATETIME, HOSTILE),
    "a datetime without arguments": called(DATETIME),
    "a timezone": called(
        named("datetime", "timezone"), called(named("datetime", "timedelta"), number(99))
    ),
    "a timezone of a call": called(named("datetime", "timezone"), HOSTILE, HOSTILE),
    "a ZoneInfo": called(
        named("zoneinfo", "ZoneInfo._unpickle"), text("../../../etc/passwd"), b"\x88"
    ),
    "a ZoneInfo by getattr": called(
        called(named("builtins", "getattr"), named("zoneinfo", "ZoneInfo"), text("_unpickle")),
        text("Europe/Busingen"),
        b"\x88",
    ),
    "a ZoneInfo of a call": called(named("zoneinfo", "ZoneInfo._unpickle"), HOSTILE, HOSTILE),
    "a pytz zone": called(named("pytz", "_p"), text("Europe/Busingen")),
    "a pytz zone with an offset": called(
        named("pytz", "_p"), text("Europe/Busingen"), number(1), HOSTILE, text("x")
    ),
    "a dateutil zone": called(named("dateutil.tz.tz", "gettz"), text("/etc/passwd")),
    "a file of zones": called(named("dateutil.tz.tz", "tzfile"), b"N", text("/etc/passwd")),
    "a member of an enum": called(named("socket", "AddressFamily"), HOSTILE),
    "a namespace": called(named("types", "SimpleNamespace")) + state_of(a=HOSTILE) + b"b",
    "an exception": called(named("builtins", "KeyError"), HOSTILE),
}

NAMES = {
    "a module that is not imported": named("this", "s"),
    "a module that is not imported, by texts": named_by_texts("this", "s"),
    "a module that does not exist": named("gone_module", "Gone"),
    "a dotted name": named("os", "path.join"),
    "a dotted name, by texts": named_by_texts("os", "path.sep.__class__.__mro__"),
    "an empty name": named("", ""),
    "an empty name, by texts": named_by_texts("", ""),
    "a name of dots": named("...", "..."),
    "a name of bytes": b"c\xff\xfe\n\xff\n",
    "a name of NUL": named("os\0", "system\0"),
    "a name of surrogates": named_by_texts("\ud800", "\udfff"),
    "a name of colons": named("os:system", ":"),
    "a name of escapes": named("\x1b[2J", "\x1b]0;title\x07"),
    "a name of lines": named_by_texts("os\nsystem", "x\r\n"),
    "a name that is no text": number(1) + number(2) + b"\x93",
    "a name of calls": HOSTILE + HOSTILE + b"\x93",
    "a name of bytes, by texts": raw(b"os") + raw(b"system") + b"\x93",
    "a name that ends": b"cos\nsys",
    "a long name": named("m" * 9999, "n" * 9999),
    "a module's own getattr": named("support.hostile_target", "gone"),
}

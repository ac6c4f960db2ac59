"""Values that fill a document: 15 MB of nesting, of digits, of marks, of small objects."""

import struct

from support.hostile_pickles import TARGET
from support.opcodes import made, named, number, state_of, text

SIZE = 15_000_000  # a document has 16 MiB at most
MANY = 100_000
ZONE, DATETIME = named("datetime", "timezone"), named("datetime", "datetime")
NOON = b"C\x0a\7\xf6\1\1\x0c\0\0\0\0\0"

OWN = "apscheduler.triggers."


def counted(opcode, content):
    return opcode + struct.pack("<I", len(content)) + content


def nested(size, opening, value, closing):
    """Open as many as there is room for, and close them."""
    number = size // len(opening + closing)
    return opening * number + value + closing * number


def of(part, size):
    return part * (size // len(part))


HUGE = {
    "nested lists": lambda size: nested(size, b"]", b"N", b"a"),
    "nested tuples": lambda size: b")" + b"\x85" * size,
    "nested tuples, by marks": lambda size: nested(size, b"(", b"", b"t"),
    "nested lists, by marks": lambda size: nested(size, b"(", b"", b"l"),
    "nested dicts": lambda size: nested(size, b"}N", b"N", b"s"),
    "nested dicts as keys": lambda size: nested(size, b"}", b"N", b"Ns"),
    "nested dicts, by marks": lambda size: nested(size, b"(N", b"N", b"d"),
    "nested frozen sets": lambda size: nested(size, b"(", b"N", b"\x91"),
    "nested sets": lambda size: nested(size, b"\x8f(", b"N", b"\x90"),
    "nested calls": lambda size: TARGET + of(b")R", size),
    "nested arguments": lambda size: TARGET + b"q\0010" + nested(size, b"h\1", b"N", b"\x85R"),
    "nested objects": lambda size: TARGET + of(b")\x81", size),
    "nested states": lambda size: TARGET + b"q\0010" + nested(size, b"h\1)\x81", b"N", b"b"),
    "nested zones": lambda size: ZONE + b"q\0010" + nested(size, b"h\1", b"N", b"\x85R"),
    "nested zones of times": lambda size: (
        DATETIME + b"q\0010" + nested(size, b"h\1" + NOON, b"N", b"\x86R")
    ),
    "nested members of sets": lambda size: (
        named("builtins", "set") + b"q\0010" + nested(size, b"h\1](", b"N", b"e\x85R")
    ),
    "objects with equal attributes": lambda size: (
        b"](" + TARGET + b")\x81}(" + of(b"U\1aN", size) + b"ub" + b"q\1" + b"h\1" * 500 + b"e"
    ),
    "nested persistent ids": lambda size: b"N" + b"Q" * size,
    "doubled tuples": lambda size: b")" + of(b"2\x86", size),
    "marks": lambda size: b"(" * size,
    "values": lambda size: b"N" * size,
    "values of a tuple": lambda size: b"(" + b"N" * size + b"t",
    "values of a list": lambda size: b"](" + b"N" * size + b"e",
    "elements of a list": lambda size: b"]" + of(b"Na", size),
    "members of a set": lambda size: b"\x8f(" + b"N" * size + b"\x90",
    "members of a frozen set": lambda size: b"(" + b"N" * size + b"\x91",
    "numbers of a frozen set": lambda size: b"(" + of(b"M\1\2", size) + b"\x91",
    "pairs of a dict": lambda size: b"}(" + b"N" * (size // 2 * 2) + b"u",
    "small objects": lambda size: b"](" + TARGET + b"q\1" + of(b"h\1)\x81", size // 3) + b"e",
    "small calls": lambda size: b"](" + TARGET + b"q\1" + of(b"h\1)R", size // 3) + b"e",
    "small lists": lambda size: b"](" + of(b"]", size) + b"e",
    "small names": lambda size: b"](" + of(named("m", "n"), size) + b"e",
    "copies": lambda size: b"N" + b"2" * size,
    "copies that are dropped": lambda size: b"N" + of(b"20", size),
    "a memo of many": lambda size: b"N" + b"\x94" * size,
    "memos of one": lambda size: b"N" + of(b"q\1", size),
    "frames": lambda size: of(b"\x95" + bytes(8), size) + b"N",
    "protocols": lambda size: of(b"\x80\4", size) + b"N",
    "digits of INT": lambda size: b"I" + b"9" * size + b"\n",
    "digits of LONG": lambda size: b"L" + b"9" * size + b"L\n",
    "digits of LONG4": lambda size: counted(b"\x8b", b"\x71" * size),
    "digits of FLOAT": lambda size: b"F" + b"9" * size + b"\n",
    "digits of GET": lambda size: b"Ng" + b"9" * size + b"\n",
    "digits of PUT": lambda size: b"Np" + b"9" * size + b"\n",
    "blanks of INT": lambda size: b"I" + b" " * size + b"1\n",
    "zeros of INT": lambda size: b"I" + b"0" * size + b"\n",
    "a text": lambda size: text("x" * size),
    "a text of surrogates": lambda size: text("\ud800" * (size // 3)),
    "a text of escapes": lambda size: b"V" + of(rb"\u1234", size) + b"\n",
    "a STRING of escapes": lambda size: b"S'" + of(rb"\x12", size) + b"'\n",
    "a STRING of slashes": lambda size: b"S'" + b"\\" * (size) + b"'\n",
    "bytes": lambda size: counted(b"B", b"\xff" * size),
    "a bytearray": lambda size: b"\x96" + struct.pack("<Q", size) + b"\xff" * size,
    "a name": lambda size: named("m" * size, "n"),
    "a name of INST": lambda size: b"(i" + b"m" * size + b"\nn\n",
    "a persistent id": lambda size: b"P" + b"m" * size + b"\n",
    "a Decimal of digits": lambda size: named("decimal", "Decimal") + text("9" * size) + b"\x85R",
    "a codec of a text": lambda size: (
        named("_codecs", "encode") + text("x" * size) + text("latin1") + b"\x86R"
    ),
    "a bytearray of a text": lambda size: (
        named("builtins", "bytearray") + text("x" * size) + text("latin1") + b"\x86R"
    ),
    "texts that share a memo": lambda size: (
        text("x" * (size // 2)) + b"q\1(" + of(b"h\1", size // 2) + b"t"
    ),
    "a UUID of digits": lambda size: (
        named("uuid", "UUID") + b")\x81}" + text("int") + counted(b"\x8b", b"\x71" * size) + b"sb"
    ),
}


def combined(depth, base=b"N"):
    """Nest AndTriggers in AndTriggers."""
    begin = named(OWN + "combining", "AndTrigger") + b"q\0010" + text("triggers") + b"q\0020"
    begin += text("jitter") + b"q\0030"
    return begin + b"h\1)\x81}(h\3Nh\2(" * depth + base + b"lub" * depth


def of_state(module, name, **fields):
    """Push a trigger of this class."""
    items = b"".join(text(key) + value for key, value in fields.items())
    return named(OWN + module, name) + b")\x81}(" + items + b"ub"


def failing(depth):
    """Push a list of triggers whose last is none; the others have such a list in turn."""
    each = text(OWN + "combining:OrTrigger") + b"}" + text("triggers")
    value = b"](Ne"
    for _ in range(depth):
        value += b"q\0010](" + each + b"h\1s\x86" + b"2" * 99 + b"Ne"
    return value


def cron_field(expressions):
    """Push a field of a cron trigger."""
    state = state_of(name=text("hour"), is_default=b"\x89", expressions=expressions)
    return made(named(OWN + "cron.fields", "BaseField"), state)


EQUAL = made(
    named(OWN + "cron.expressions", "AllExpression"), b"}(" + of(b"U\4stepK\1", MANY * 32) + b"u"
)
TRIGGERS = {
    "AndTriggers in AndTriggers": lambda: combined(MANY),
    "a few AndTriggers in AndTriggers": lambda: combined(3000, of_state("date", "DateTrigger")),
    "an AndTrigger in itself": lambda: (
        named(OWN + "combining", "AndTrigger") + b")\x81q\1}" + text("triggers") + b"]h\1asb"
    ),
    "a doubled AndTrigger": lambda: (
        named(OWN + "combining", "AndTrigger")
        + (b"q\0010" + text("triggers") + b"q\0020N")
        + b"q\0030h\1)\x81}h\2](h\3h\3esb" * 99
    ),
    "OrTriggers that fail at their ends": lambda: of_state(
        "combining",
        "OrTrigger",
        triggers=failing(9),
    ),
    "an OrTrigger of many": lambda: of_state(
        "combining", "OrTrigger", triggers=b"](" + b"N" * MANY + b"e"
    ),
    "a CronTrigger of many fields": lambda: of_state(
        "cron", "CronTrigger", fields=b"](" + of(b"]}", MANY) + b"e"
    ),
    "a CronTrigger in itself": lambda: (
        named(OWN + "cron", "CronTrigger") + b")\x81q\1}" + text("fields") + b"]h\1asb"
    ),
    "a CronTrigger of equal expressions": lambda: of_state(
        "cron",
        "CronTrigger",
        fields=b"](" + cron_field(b"](" + EQUAL + b"2" * 499 + b"e") + b"2" * 9 + b"e",
    ),
    "an OrTrigger of equal states": lambda: of_state(
        "combining",
        "OrTrigger",
        triggers=b"](" + text(":") + b"}(" + of(b"U\1aN", MANY * 10) + b"u\x86" + b"2" * 500 + b"e",
    ),
    "an IntervalTrigger of no timedelta": lambda: of_state(
        "interval", "IntervalTrigger", interval=number(5), timezone=b"N"
    ),
    "an IntervalTrigger of a text": lambda: of_state(
        "interval", "IntervalTrigger", interval=text("x" * SIZE)
    ),
    "a DateTrigger of a text": lambda: of_state("date", "DateTrigger", run_date=text("x" * SIZE)),
    "a trigger of another's state": lambda: of_state("date", "DateTrigger", fields=b"]"),
    "a trigger without a state": lambda: named(OWN + "cron", "CronTrigger") + b")\x81",
    "a class in place of a trigger": lambda: named(OWN + "cron", "CronTrigger"),
}

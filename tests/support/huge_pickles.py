"""Values that fill a document: 15 MB of nesting, of digits, of marks, of small objects."""

import struct

from support.hostile_pickles import TARGET
from support.opcodes import named, number, text

SIZE = 15_000_000  # a document has 16 MiB at most
HALF = SIZE // 2
MANY = 100_000
OWN = "apscheduler.triggers."


def counted(opcode, content):
    return opcode + struct.pack("<I", len(content)) + content


def nested(opening, value, closing):
    """Open as many as a document holds, and close them."""
    number = SIZE // len(opening + closing)
    return opening * number + value + closing * number


def of(part, size=SIZE):
    return part * (size // len(part))


HUGE = {
    "nested lists": lambda: nested(b"]", b"N", b"a"),
    "nested tuples": lambda: b")" + b"\x85" * SIZE,
    "nested tuples, by marks": lambda: nested(b"(", b"", b"t"),
    "nested lists, by marks": lambda: nested(b"(", b"", b"l"),
    "nested dicts": lambda: nested(b"}N", b"N", b"s"),
    "nested dicts as keys": lambda: nested(b"}", b"N", b"Ns"),
    "nested dicts, by marks": lambda: nested(b"(N", b"N", b"d"),
    "nested frozen sets": lambda: nested(b"(", b"N", b"\x91"),
    "nested sets": lambda: nested(b"\x8f(", b"N", b"\x90"),
    "nested calls": lambda: TARGET + of(b")R"),
    "nested arguments": lambda: TARGET + b"q\0010" + nested(b"h\1", b"N", b"\x85R"),
    "nested objects": lambda: TARGET + of(b")\x81"),
    "nested states": lambda: TARGET + b"q\0010" + nested(b"h\1)\x81", b"N", b"b"),
    "nested persistent ids": lambda: b"N" + b"Q" * SIZE,
    "doubled tuples": lambda: b")" + of(b"2\x86"),
    "marks": lambda: b"(" * SIZE,
    "values": lambda: b"N" * SIZE,
    "values of a tuple": lambda: b"(" + b"N" * SIZE + b"t",
    "values of a list": lambda: b"](" + b"N" * SIZE + b"e",
    "elements of a list": lambda: b"]" + of(b"Na"),
    "members of a set": lambda: b"\x8f(" + b"N" * SIZE + b"\x90",
    "members of a frozen set": lambda: b"(" + b"N" * SIZE + b"\x91",
    "numbers of a frozen set": lambda: b"(" + of(b"M\1\2") + b"\x91",
    "pairs of a dict": lambda: b"}(" + b"N" * (SIZE // 2 * 2) + b"u",
    "small objects": lambda: b"](" + TARGET + b"q\1" + of(b"h\1)\x81", 5_000_000) + b"e",
    "small calls": lambda: b"](" + TARGET + b"q\1" + of(b"h\1)R", 5_000_000) + b"e",
    "small lists": lambda: b"](" + of(b"]") + b"e",
    "small names": lambda: b"](" + of(named("m", "n")) + b"e",
    "copies": lambda: b"N" + b"2" * SIZE,
    "copies that are dropped": lambda: b"N" + of(b"20"),
    "a memo of many": lambda: b"N" + b"\x94" * SIZE,
    "memos of one": lambda: b"N" + of(b"q\1"),
    "frames": lambda: of(b"\x95" + bytes(8)) + b"N",
    "protocols": lambda: of(b"\x80\4") + b"N",
    "digits of INT": lambda: b"I" + b"9" * SIZE + b"\n",
    "digits of LONG": lambda: b"L" + b"9" * SIZE + b"L\n",
    "digits of LONG4": lambda: counted(b"\x8b", b"\x71" * SIZE),
    "digits of FLOAT": lambda: b"F" + b"9" * SIZE + b"\n",
    "digits of GET": lambda: b"Ng" + b"9" * SIZE + b"\n",
    "digits of PUT": lambda: b"Np" + b"9" * SIZE + b"\n",
    "blanks of INT": lambda: b"I" + b" " * SIZE + b"1\n",
    "zeros of INT": lambda: b"I" + b"0" * SIZE + b"\n",
    "a text": lambda: text("x" * SIZE),
    "a text of surrogates": lambda: text("\ud800" * (SIZE // 3)),
    "a text of escapes": lambda: b"V" + of(rb"\u1234") + b"\n",
    "a STRING of escapes": lambda: b"S'" + of(rb"\x12") + b"'\n",
    "a STRING of slashes": lambda: b"S'" + b"\\" * (HALF * 2) + b"'\n",
    "bytes": lambda: counted(b"B", b"\xff" * SIZE),
    "a bytearray": lambda: b"\x96" + struct.pack("<Q", SIZE) + b"\xff" * SIZE,
    "a name": lambda: named("m" * SIZE, "n"),
    "a name of INST": lambda: b"(i" + b"m" * SIZE + b"\nn\n",
    "a persistent id": lambda: b"P" + b"m" * SIZE + b"\n",
    "a Decimal of digits": lambda: named("decimal", "Decimal") + text("9" * SIZE) + b"\x85R",
    "a codec of a text": lambda: (
        named("_codecs", "encode") + text("x" * SIZE) + text("latin1") + b"\x86R"
    ),
    "a bytearray of a text": lambda: (
        named("builtins", "bytearray") + text("x" * SIZE) + text("latin1") + b"\x86R"
    ),
    "texts that share a memo": lambda: text("x" * HALF) + b"q\1(" + of(b"h\1", HALF) + b"t",
    "a UUID of digits": lambda: (
        named("uuid", "UUID") + b")\x81}" + text("int") + counted(b"\x8b", b"\x71" * SIZE) + b"sb"
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
    "an OrTrigger of many": lambda: of_state(
        "combining", "OrTrigger", triggers=b"](" + b"N" * MANY + b"e"
    ),
    "a CronTrigger of many fields": lambda: of_state(
        "cron", "CronTrigger", fields=b"](" + of(b"]}", MANY) + b"e"
    ),
    "a CronTrigger in itself": lambda: (
        named(OWN + "cron", "CronTrigger") + b")\x81q\1}" + text("fields") + b"]h\1asb"
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

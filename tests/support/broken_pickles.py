"""Broken pickles: false lengths, empty stacks, unknown opcodes, bad texts, and bombs."""

import pickletools
import struct

from support.hostile_pickles import TARGET
from support.opcodes import called, dict_of, list_of, named, number, state_of, text, tuple_of

KNOWN = {opcode.code.encode("latin1") for opcode in pickletools.opcodes}
EVERY_BYTE = [bytes([code]) for code in range(256)]


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


STACK = {
    "POP of nothing": b"0" * 200,
    "POP of all": b"0" * 3 + b"N",
    "POP_MARK without a mark": b"1N",
    "POP_MARK of all": b"1" * 9,
    "DUP of nothing": b"0" * 30 + b"2",
    "TUPLE without a mark": b"t",
    "TUPLE3 of one": b"0" * 30 + b"N\x87",
    "LIST without a mark": b"l",
    "DICT without a mark": b"d",
    "DICT of one": b"(\x88d",
    "SETITEMS of one": b"}(Nu",
    "SETITEMS of a list": b"](NNu",
    "SETITEM of a list": b"]NNs",
    "SETITEM of a tuple": b")NNs",
    "SETITEMS of nothing": b"(u",
    "APPEND to None": b"NNa",
    "APPEND to a text": text("x") + b"Na",
    "APPEND to a dict": b"}Na",
    "APPENDS to a tuple": b")(NNe",
    "APPENDS to a set": b"\x8f(NNe",
    "ADDITEMS to a list": b"](NN\x90",
    "ADDITEMS to None": b"N(NN\x90",
    "FROZENSET without a mark": b"\x91",
    "a mark alone": b"(",
    "marks": b"((((N",
    "a mark as a value": b"((t",
    "REDUCE of one": b"0" * 30 + b")R",
    "BUILD of one": b"0" * 30 + b"}b",
    "STACK_GLOBAL of one": b"0" * 30 + text("os") + b"\x93",
    "STOP at once": b".",
    "STOP in the middle": b"N.N",
    "no STOP": b"N" * 9,
    "NEXT_BUFFER": b"\x97",
    "READONLY_BUFFER": b"N\x98",
    "READONLY_BUFFER of a buffer": b"\x97\x98",
    "a PROTO in the middle": b"\x80\x02N",
    "an unknown PROTO": b"\x80\xffN",
    "a PROTO of no protocol": b"\x80\x06N",
    **{f"opcode {code.hex()}": code for code in EVERY_BYTE if code not in KNOWN},
    **{f"opcode {code.hex()} alone": code for code in KNOWN if code != b"."},
    **{f"opcode {code.hex()} and numbers": b"N" + code + b"1\n" * 20 for code in KNOWN},
}

LENGTHS = {
    "BINUNICODE8": b"\x8d" + u64(2**63) + b"x",
    "BINUNICODE8 of all": b"\x8d" + u64(2**64 - 1) + b"x",
    "BINBYTES8": b"\x8e" + u64(2**63) + b"x",
    "BINBYTES8 of a gigabyte": b"\x8e" + u64(2**30) + b"x",
    "BYTEARRAY8": b"\x96" + u64(2**63) + b"x",
    "BYTEARRAY8 of a terabyte": b"\x96" + u64(2**40) + b"x",
    "BINUNICODE": b"X" + u32(2**32 - 1) + b"x",
    "SHORT_BINUNICODE": b"\x8c\xff",
    "BINBYTES": b"B" + u32(2**32 - 1) + b"x",
    "SHORT_BINBYTES": b"C\xff",
    "BINSTRING": b"T" + u32(2**31 - 1) + b"x",
    "a negative BINSTRING": b"T" + u32(2**32 - 1) + b"x",
    "SHORT_BINSTRING": b"U\xff",
    "LONG1": b"\x8a\xff",
    "LONG4": b"\x8b" + u32(2**31 - 1) + b"\1",
    "a negative LONG4": b"\x8b" + u32(2**32 - 1) + b"\1",
    "a FRAME too long": b"\x95" + u64(2**20) + b"N",
    "a FRAME of all": b"\x95" + u64(2**64 - 1) + b"N",
    "a FRAME of nothing": b"\x95" + u64(0) + b"N",
    "a FRAME too short": b"\x95" + u64(1) + text("some text"),
    "FRAMEs in FRAMEs": (b"\x95" + u64(3)) * 9 + b"N",
    "LONG_BINPUT": b"Nr" + u32(2**31 - 1),
    "LONG_BINPUT of all": b"Nr" + u32(2**32 - 1),
    "PUT": b"Np2147483647\n",
    "a negative PUT": b"Np-1\n",
    "a PUT of digits": b"Np" + b"9" * 99999 + b"\n",
    "a PUT of letters": b"Npx\n",
    "a PUT of 1_0": b"Np1_0\n",
    "a PUT of blanks": b"Np 1 \n",
    "a PUT of nothing": b"Np\n",
    "a PUT before a value": b"0" * 30 + b"p1\n",
    "a MEMOIZE before a value": b"0" * 30 + b"\x94",
    "a GET of nothing": b"g5\n",
    "a negative GET": b"g-1\n",
    "a GET of digits": b"g" + b"9" * 99999 + b"\n",
    "a BINGET of nothing": b"h\xff",
    "a LONG_BINGET of nothing": b"j" + u32(2**32 - 1),
}

TEXTS = {
    "bytes that are not UTF-8": b"X" + u32(2) + b"\xff\xfe",
    "a surrogate": text("\ud800"),
    "a surrogate, escaped": b"V\\ud800\n",
    "an escape of no code point": b"V\\U00110000\n",
    "an escape that ends": b"V\\u12\n",
    "a STRING without quotes": b"Sx\n",
    "a STRING of a quote": b"S'\n",
    "a STRING of two quotes": b"S'x\"\n",
    "a STRING of a bad escape": b"S'\\xzz'\n",
    "a STRING of bytes": b"S'\\xff\\xfe'\n",
    "a STRING of Latin-1": b"S'\xe4\xff'\n",
    "a BINSTRING of bytes": b"U\x02\xff\xfe",
    "a NUL": text("\0"),
    "a terminal's escape": text("\x1b[2J\x1b]0;title\x07"),
    "a text of lines": text("a\r\nb\u2028c\u202ed"),
    "an INT of letters": b"Ix\n",
    "an INT of 1_0": b"I1_0\n",
    "an INT of a base": b"I0x10\n",
    "an INT of true": b"I01\n",
    "an INT of digits": b"I" + b"9" * 9999 + b"\n",
    "an INT of other digits": "I\u0661\n".encode(),
    "an INT of nothing": b"I\n",
    "a LONG of letters": b"LxL\n",
    "a LONG of nothing": b"LL\n",
    "a LONG of digits": b"L-" + b"9" * 9999 + b"L\n",
    "a LONG1 of nothing": b"\x8a\0",
    "a LONG4 of digits": b"\x8b" + u32(9999) + b"\x91" * 9999,
    "a FLOAT of letters": b"Fx\n",
    "a FLOAT of nan": b"Fnan\n",
    "a FLOAT of digits": b"F1e999999999\n",
    "a BINFLOAT of nan": b"G\x7f\xf8" + bytes(6),
    "a BINFLOAT that is infinite": b"G\xff\xf0" + bytes(6),
}

DOUBLED = b"2\x86" * 200  # (x, x), then ((x, x), (x, x)), and so on
MEMOIZED = b"".join(b"r" + u32(9) + b"h\x09\x86" for _ in range(200))

BOMBS = {
    "a doubled tuple": b")" + DOUBLED,
    "a doubled tuple, by the memo": b")" + MEMOIZED,
    "doubled lists": b"]" + b"q\x010](h\x01h\x01e" * 200,
    "a doubled tuple as a key": b"})" + DOUBLED + b"Ns",
    "doubled tuples as keys": b"}(" + (b")" + DOUBLED + b"N") * 3 + b"u",
    "a doubled tuple in a set": b"\x8f()" + DOUBLED + b"\x90",
    "doubled tuples in a frozen set": b"(" + (b")" + DOUBLED) * 2 + b"\x91",
    "a set of a doubled tuple": called(named("builtins", "set"), b"])" + DOUBLED + b"a"),
    "a doubled tuple in an OrderedDict": called(named("collections", "OrderedDict"))
    + (b")" + DOUBLED + b"Ns"),
    "a doubled tuple as a zone": called(named("datetime", "timezone"), b")" + DOUBLED),
    "a call of a doubled tuple": TARGET + b")" + DOUBLED + b"R",
    "doubled states": b"N" + (b"q\x010" + TARGET + b")\x81h\x01h\x01\x86b") * 200,
    "doubled partials": b"N"
    + (b"q\x010" + named("functools", "partial") + b"h\x01\x85R(h\x01h\x01h\x01\x86}Ntb") * 99,
    "doubled zones": b"N" + (b"q\x010" + named("datetime", "timezone") + b"h\x01h\x01\x86R") * 200,
    "doubled zones of times": b"N"
    + (b"q\x010" + named("datetime", "datetime") + b"h\x01h\x01\x86R") * 200,
    "doubled members of sets": b"N"
    + (b"q\x010" + named("builtins", "set") + b"](h\x01h\x01e\x85R") * 200,
    "doubled items": b"N" + (b"q\x010" + TARGET + b")\x81(h\x01h\x01u") * 200,
    "a list in itself": b"]q\x07h\x07a",
    "a dict in itself": b"}q\x07Nh\x07s",
    "a dict as its own key": b"}q\x07h\x07Ns",
    "a set in itself": b"\x8fq\x07(h\x07\x90",
    "a tuple in a list in itself": b"]q\x07h\x07\x85a",
    "an object as its own state": TARGET + b")\x81q\x07h\x07b",
    "a state in itself": TARGET + b")\x81q\x07" + state_of(a=b"h\x07") + b"b",
    "an argument of itself": TARGET + b"]q\x07h\x07" + TARGET + b"h\x07\x85Ra\x85R",
    "an item of itself": called(named("collections", "OrderedDict")) + b"q\x07h\x07h\x07s",
    "keys that are equal": dict_of([(number(1), number(value)) for value in range(9999)]),
    "the job's own state": b"h\0",
    "wide and deep": list_of(*[tuple_of(*[number(1)] * 99)] * 99),
}

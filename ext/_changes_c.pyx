# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, binding=False
# cython: freethreading_compatible=True, boundscheck=False, wraparound=False
"""Follows a pickle's stack, compiled; `jobstore/inert/_changes_py.py` documents it.

No step makes a Python object, or calls any code of Python.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.string cimport memchr, memset

from jobstore.inert.refused import RefusedError
from jobstore.run_times import UnreadableError

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    PLAIN = -1
    UNKNOWN = -2
    UNSET = -3  # a place of the memo without a value
    HIGHEST_PROTOCOL = 5
    MAX_DIGITS = 20

cdef enum Fault:
    NONE = 0
    DAMAGED
    NO_PICKLE
    PROTOCOL
    CHANGES_NAMED
    CHANGES_UNKNOWN
    CHANGES_TWICE
    EXTENSION
    ELSEWHERE
    NO_MEMORY

cdef struct Numbers:  # an array that grows
    Py_ssize_t *at
    Py_ssize_t length
    Py_ssize_t room

cdef struct Follower:
    const unsigned char *data
    Py_ssize_t at
    Py_ssize_t length
    Numbers stack
    Numbers marks
    Numbers memo
    Py_ssize_t filled  # places of the memo
    Py_ssize_t frame_end
    Numbers changed  # a flag for each class and function
    Numbers results  # for each call, the place of the callee
    Numbers has_state  # for each call, whether its result has got a state
    int protocol


def changes(bytes data not None):
    cdef Follower it
    cdef Fault fault
    cdef Py_ssize_t each
    cdef char *flags
    memset(&it, 0, sizeof(it))
    it.data = <const unsigned char *>PyBytes_AS_STRING(data)
    it.length = PyBytes_GET_SIZE(data)
    it.frame_end = PY_SSIZE_T_MAX
    try:
        fault = follow(&it)
        if fault == NO_MEMORY:
            raise MemoryError
        if fault == PROTOCOL:
            raise UnreadableError(f"its state has the pickle protocol {it.protocol}")
        if fault in REFUSED:
            raise RefusedError(REFUSED[fault])
        if fault != NONE:
            raise UnreadableError(DAMAGES[fault])
        result = PyBytes_FromStringAndSize(NULL, it.changed.length)
        flags = PyBytes_AS_STRING(result)
        for each in range(it.changed.length):
            flags[each] = <char>it.changed.at[each]
        return result
    finally:
        PyMem_RawFree(it.stack.at)
        PyMem_RawFree(it.marks.at)
        PyMem_RawFree(it.memo.at)
        PyMem_RawFree(it.changed.at)
        PyMem_RawFree(it.results.at)
        PyMem_RawFree(it.has_state.at)


DAMAGES = {
    DAMAGED: "its state is truncated or damaged",
    NO_PICKLE: "its state is no pickle",
    ELSEWHERE: "its state has a persistent id or a buffer, which no scheduler can load",
}
REFUSED = {
    CHANGES_NAMED: "its state changes a class or a function",
    CHANGES_UNKNOWN: "its state changes the result of a call that has no name",
    CHANGES_TWICE: "its state gives an object two states",
    EXTENSION: "its state names a class by an extension code, which allow can't check",
}


cdef Fault follow(Follower *it) noexcept nogil:
    cdef Fault fault = NONE
    cdef unsigned char op
    cdef Py_ssize_t value = 0
    while True:
        if it.at >= it.length:
            return DAMAGED
        if it.at >= it.frame_end:
            it.frame_end = PY_SSIZE_T_MAX
        op = it.data[it.at]
        it.at += 1
        if op == 0x94:  # MEMOIZE
            fault = put(it, it.filled)
        elif op in (0x8c, b"C", 0x8a, b"U"):  # SHORT_BINUNICODE, SHORT_BINBYTES, LONG1, ...
            fault = push_counted(it, 1)
        elif op in (b"N", 0x88, 0x89, b"}", b"]", b")", 0x8f):  # None, True, False, empty ones
            fault = append(&it.stack, PLAIN)
        elif op == b"h":  # BINGET
            fault = get(it, 1)
        elif op == b"K":  # BININT1
            fault = push_after(it, 1)
        elif op in (b"M", b"J", b"G"):  # BININT2, BININT, BINFLOAT
            fault = push_after(it, 2 if op == b"M" else 4 if op == b"J" else 8)
        elif op == b"(":  # MARK
            fault = append(&it.marks, it.stack.length)
        elif op == b"b":  # BUILD
            fault = take(it, 1)
            if not fault and (height(it) < 1 or it.stack.at[it.stack.length - 1] == PLAIN):
                fault = DAMAGED  # no value of a builtin class takes a state
            if not fault:
                fault = change(it)
            if not fault:
                fault = note_state(it)
        elif op == b"a" or op == b"s":  # APPEND, SETITEM
            fault = take(it, 1 if op == b"a" else 2)
            if not fault:
                fault = change(it)
        elif op in (b"e", b"u", 0x90):  # APPENDS, SETITEMS, ADDITEMS
            fault = take_mark(it)
            if not fault:
                fault = change(it)
        elif op == 0x93:  # STACK_GLOBAL
            fault = take(it, 2)
            if not fault:
                fault = name(it)
        elif op in (0x81, b"R", 0x92):  # NEWOBJ, REDUCE, NEWOBJ_EX
            fault = take(it, 2 if op == 0x92 else 1)
            if not fault:
                fault = call(it)
        elif 0x85 <= op <= 0x87:  # TUPLE1 to TUPLE3
            fault = take(it, op - 0x84)
            if not fault:
                fault = append(&it.stack, PLAIN)
        elif op in (b"t", b"l", b"d", 0x91):  # TUPLE, LIST, DICT, FROZENSET
            fault = take_mark(it)
            if not fault:
                fault = append(&it.stack, PLAIN)
        elif op in (b"X", b"B", 0x8b, b"T"):  # BINUNICODE, BINBYTES, LONG4, BINSTRING
            fault = push_counted(it, 4)
        elif op in (0x8d, 0x8e, 0x96):  # BINUNICODE8, BINBYTES8, BYTEARRAY8
            fault = push_counted(it, 8)
        elif op in (b"I", b"L", b"F", b"S", b"V"):  # INT, LONG, FLOAT, STRING, UNICODE
            fault = line(it, &value)
            if not fault:
                fault = append(&it.stack, PLAIN)
        elif op == b"0":  # POP
            if it.marks.length and it.marks.at[it.marks.length - 1] == it.stack.length:
                it.marks.length -= 1
            else:
                fault = take(it, 1)
        elif op == b"1":  # POP_MARK
            fault = take_mark(it)
        elif op == b"2":  # DUP
            if height(it) < 1:
                return DAMAGED
            fault = append(&it.stack, it.stack.at[it.stack.length - 1])
        elif op in (b"q", b"r", b"p"):  # BINPUT, LONG_BINPUT, PUT
            fault = place(it, &value) if op == b"p" else number(it, 1 if op == b"q" else 4, &value)
            if not fault:
                fault = put(it, value)
        elif op == b"j" or op == b"g":  # LONG_BINGET, GET
            fault = get(it, 4 if op == b"j" else 0)
        elif op == b"c":  # GLOBAL
            fault = name_in_lines(it)
        elif op == b"i":  # INST
            fault = take_mark(it)
            if not fault:
                fault = name_in_lines(it)
            if not fault:
                fault = call(it)
        elif op == b"o":  # OBJ
            if not it.marks.length or it.marks.at[it.marks.length - 1] >= it.stack.length:
                return DAMAGED
            it.stack.length = it.marks.at[it.marks.length - 1] + 1  # the first value above stays
            it.marks.length -= 1
            fault = call(it)
        elif op == 0x80:  # PROTO
            fault = number(it, 1, &value)
            if not fault and value > HIGHEST_PROTOCOL:
                it.protocol = <int>value
                return PROTOCOL
        elif op == 0x95:  # FRAME
            fault = begin_frame(it)
        elif op == b".":  # STOP
            return NONE if height(it) > 0 else DAMAGED
        elif 0x82 <= op <= 0x84:  # EXT1, EXT2, EXT4
            return EXTENSION
        elif op in (b"P", b"Q", 0x97, 0x98):  # PERSID, BINPERSID, NEXT_BUFFER, READONLY_BUFFER
            return ELSEWHERE
        else:
            return NO_PICKLE
        if fault:
            return fault
        if it.at > it.frame_end:
            return DAMAGED


cdef Fault append(Numbers *numbers, Py_ssize_t value) noexcept nogil:
    cdef Py_ssize_t room
    cdef void *larger
    if numbers.length == numbers.room:
        room = 2 * numbers.room + 64
        larger = PyMem_RawRealloc(numbers.at, room * sizeof(Py_ssize_t))
        if larger == NULL:
            return NO_MEMORY
        numbers.at = <Py_ssize_t *>larger
        numbers.room = room
    numbers.at[numbers.length] = value
    numbers.length += 1
    return NONE


cdef Fault skip(Follower *it, Py_ssize_t count) noexcept nogil:
    if count > it.length - it.at:
        return DAMAGED
    it.at += count
    return NONE


cdef Fault number(Follower *it, int size, Py_ssize_t *value) noexcept nogil:
    """Read a number of 1, 4 or 8 bytes."""
    cdef int each
    cdef unsigned long long read = 0
    if size > it.length - it.at:
        return DAMAGED
    for each in range(size):
        read |= <unsigned long long>it.data[it.at + each] << (8 * each)
    it.at += size
    value[0] = <Py_ssize_t>read
    return DAMAGED if value[0] < 0 else NONE  # more than any data has


cdef Fault begin_frame(Follower *it) noexcept nogil:
    cdef Py_ssize_t length = 0
    cdef Fault fault = DAMAGED if it.frame_end != PY_SSIZE_T_MAX else number(it, 8, &length)
    if not fault and length > it.length - it.at:
        fault = DAMAGED
    if not fault:
        it.frame_end = it.at + length
    return fault


cdef Fault line(Follower *it, Py_ssize_t *length) noexcept nogil:
    """Move over a line, and tell its length."""
    cdef const unsigned char *start = it.data + it.at
    cdef const void *end = memchr(start, b"\n", it.length - it.at)
    if end == NULL:
        return DAMAGED
    length[0] = <const unsigned char *>end - start
    it.at += length[0] + 1
    return NONE


cdef Fault place(Follower *it, Py_ssize_t *value) noexcept nogil:
    """Read a line with a place in the memo."""
    cdef Py_ssize_t each, digit
    cdef Py_ssize_t length = 0
    cdef const unsigned char *digits = it.data + it.at
    cdef Fault fault = line(it, &length)
    if fault:
        return fault
    if length == 0 or length > MAX_DIGITS:
        return DAMAGED
    value[0] = 0
    for each in range(length):
        digit = digits[each] - 0x30  # "0"
        if not 0 <= digit <= 9:
            return DAMAGED
        value[0] = value[0] * 10 + digit
        if value[0] > it.length:
            return DAMAGED
    return NONE


cdef Py_ssize_t height(Follower *it) noexcept nogil:
    """Return the number of values above the last mark."""
    return it.stack.length - (it.marks.at[it.marks.length - 1] if it.marks.length else 0)


cdef Fault take(Follower *it, Py_ssize_t count) noexcept nogil:
    if height(it) < count:
        return DAMAGED
    it.stack.length -= count
    return NONE


cdef Fault take_mark(Follower *it) noexcept nogil:
    if not it.marks.length:
        return DAMAGED
    it.marks.length -= 1
    it.stack.length = it.marks.at[it.marks.length]
    return NONE


cdef Fault push_after(Follower *it, Py_ssize_t count) noexcept nogil:
    cdef Fault fault = skip(it, count)
    return fault if fault else append(&it.stack, PLAIN)


cdef Fault push_counted(Follower *it, int size) noexcept nogil:
    cdef Py_ssize_t count = 0
    cdef Fault fault = number(it, size, &count)
    return fault if fault else push_after(it, count)


cdef Fault put(Follower *it, Py_ssize_t at) noexcept nogil:
    cdef Fault fault
    if height(it) < 1 or at > it.length:
        return DAMAGED
    while it.memo.length <= at:
        fault = append(&it.memo, UNSET)
        if fault:
            return fault
    if it.memo.at[at] == UNSET:
        it.filled += 1
    it.memo.at[at] = it.stack.at[it.stack.length - 1]
    return NONE


cdef Fault get(Follower *it, int size) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef Fault fault = number(it, size, &at) if size else place(it, &at)
    if fault:
        return fault
    if at >= it.memo.length or it.memo.at[at] == UNSET:
        return DAMAGED
    return append(&it.stack, it.memo.at[at])


cdef Fault name(Follower *it) noexcept nogil:
    cdef Fault fault = append(&it.stack, 2 * it.changed.length)
    return fault if fault else append(&it.changed, 0)


cdef Fault name_in_lines(Follower *it) noexcept nogil:
    cdef Py_ssize_t length
    cdef Fault fault = line(it, &length)
    if not fault:
        fault = line(it, &length)
    return fault if fault else name(it)


cdef Fault call(Follower *it) noexcept nogil:
    cdef Py_ssize_t *func
    cdef Py_ssize_t called
    cdef Fault fault
    if height(it) < 1:
        return DAMAGED
    func = it.stack.at + it.stack.length - 1
    if func[0] < 0 or func[0] % 2:
        func[0] = UNKNOWN
        return NONE
    called = func[0] // 2
    func[0] = 2 * it.results.length + 1
    fault = append(&it.results, called)
    return fault if fault else append(&it.has_state, 0)


cdef Fault change(Follower *it) noexcept nogil:
    cdef Py_ssize_t target
    if height(it) < 1:
        return DAMAGED
    target = it.stack.at[it.stack.length - 1]
    if target == UNKNOWN:
        return CHANGES_UNKNOWN
    if target >= 0:
        if target % 2 == 0:
            return CHANGES_NAMED
        it.changed.at[it.results.at[target // 2]] = 1
    return NONE


cdef Fault note_state(Follower *it) noexcept nogil:
    cdef Py_ssize_t *has_state = it.has_state.at + it.stack.at[it.stack.length - 1] // 2
    if has_state[0]:
        return CHANGES_TWICE
    has_state[0] = 1
    return NONE

# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, binding=False
# cython: freethreading_compatible=True
"""Reads a pickle into inert values, compiled; `jobstore/inert/_reader_py.py` documents it.

It calls no code but that of `jobstore.inert`. All objects that it changes are its own, so no other
thread sees them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8

from jobstore.inert.machine import (
    MAX_STEPS, Machine, add_items, add_pairs, set_state, text, too_many_steps)
from jobstore.inert.operations import RARE
from jobstore.inert.values import Inert, Pairs


def run(bytes data not None, long max_steps=MAX_STEPS, list seen=None):
    cdef const unsigned char *code = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t at = 0, size, length = PyBytes_GET_SIZE(data)
    cdef long _step
    cdef unsigned char op
    machine = Machine(data, seen)
    cdef list stack = machine.stack, marks = machine.marks
    cdef dict memo = machine.memo
    for _step in range(max_steps):
        if at >= length:
            raise IndexError
        op = code[at]
        at += 1
        if op == 0x94:  # MEMOIZE
            memo[len(memo)] = stack[-1]
        elif op == 0x8c:  # SHORT_BINUNICODE
            size = length_at(code, at, length)
            at += 1
            stack.append(PyUnicode_DecodeUTF8(<const char *>code + at, size, "surrogatepass"))
            at += size
        elif op == b"h":  # BINGET
            if at >= length:
                raise IndexError
            stack.append(memo[code[at]])
            at += 1
        elif op == b"b":  # BUILD
            value = stack.pop()
            set_state(stack[-1], value)
            if seen is not None:
                seen.append(value)
        elif op == b"}":  # EMPTY_DICT
            stack.append(Pairs())
        elif op == b")":  # EMPTY_TUPLE
            stack.append(())
        elif op == 0x81 or op == b"R":  # NEWOBJ, REDUCE
            value = stack.pop()
            stack[-1] = Inert(stack[-1], value)
            if seen is not None:
                seen.append(stack[-1])
        elif op == b"(":  # MARK
            marks.append(len(stack))
        elif op == b"u":  # SETITEMS
            add_pairs(above_mark(stack, marks), stack[-1])
        elif op == b"N":  # NONE
            stack.append(None)
        elif op == 0x88:  # NEWTRUE
            stack.append(True)
        elif op == 0x89:  # NEWFALSE
            stack.append(False)
        elif op == b"K":  # BININT1
            if at >= length:
                raise IndexError
            stack.append(code[at])
            at += 1
        elif op == 0x93:  # STACK_GLOBAL
            value = stack.pop()
            stack[-1] = machine.name(text(stack[-1]), text(value))
        elif op == b"s":  # SETITEM
            value = stack.pop()
            add_pairs([stack.pop(), value], stack[-1])
        elif op == b"a":  # APPEND
            value = stack.pop()
            add_items([value], stack[-1])
        elif op == b"e":  # APPENDS
            add_items(above_mark(stack, marks), stack[-1])
        elif op == b"]":  # EMPTY_LIST
            stack.append([])
        elif op == 0x86:  # TUPLE2
            value = stack.pop()
            stack[-1] = (stack[-1], value)
        elif op == b"C":  # SHORT_BINBYTES
            size = length_at(code, at, length)
            at += 1
            stack.append(PyBytes_FromStringAndSize(<const char *>code + at, size))
            at += size
        elif op == b".":  # STOP
            return stack.pop()
        else:
            machine.at = at
            RARE[op](machine)
            at = machine.at
            if at < 0:
                raise IndexError
    raise too_many_steps(max_steps)


cdef Py_ssize_t length_at(const unsigned char *code, Py_ssize_t at, Py_ssize_t length) except -1:
    """Read a length of one byte, and check that so many bytes follow."""
    if at >= length or code[at] > length - at - 1:
        raise IndexError
    return code[at]


cdef list above_mark(list stack, list marks):
    cdef Py_ssize_t height = marks.pop()
    cdef list values = stack[height:]
    del stack[height:]
    return values

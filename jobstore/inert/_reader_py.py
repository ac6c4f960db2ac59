"""Reads a pickle into inert values: the Python twin of the compiled part, and its documentation.

This is an interpreter of the pickle format, in one loop, which makes inert values. A
`pickle.Unpickler` whose `find_class` imports nothing would still run for ever, or take all memory,
on some hostile pickles; the documentation names them. Here no key of a dict is hashed, and the memo
takes no more places than the state fills.

The format: https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

from typing import Any

from .machine import MAX_STEPS, Machine, add_items, add_pairs, set_state, text, too_many_steps
from .operations import RARE, code
from .values import Pairs

__all__ = ["run"]

# The operations that most states consist of.
MEMOIZE, BINGET, SHORT_BINUNICODE = code("MEMOIZE"), code("BINGET"), code("SHORT_BINUNICODE")
MARK, BUILD, SETITEM, SETITEMS = code("MARK"), code("BUILD"), code("SETITEM"), code("SETITEMS")
EMPTY_DICT, EMPTY_TUPLE, EMPTY_LIST = code("EMPTY_DICT"), code("EMPTY_TUPLE"), code("EMPTY_LIST")
NEWOBJ, REDUCE, STACK_GLOBAL = code("NEWOBJ"), code("REDUCE"), code("STACK_GLOBAL")
NONE, BININT1, APPEND, TUPLE2, STOP = map(code, ("NONE", "BININT1", "APPEND", "TUPLE2", "STOP"))


def run(data: bytes, max_steps: int = MAX_STEPS, seen: list[Any] | None = None) -> Any:
    """Return the value of a pickle; O(length).

    :param max_steps: the maximum number of operations.
    :param seen: gets each `Global` and each `Inert` as it is made, and each state of an object.
    :raises UnreadableError: if it takes more operations, or has some that no scheduler can load.
    :raises Exception: if it is damaged: an error of a Python type, such as IndexError.
    """
    machine = Machine(data, seen)
    stack, memo, marks = machine.stack, machine.memo, machine.marks
    at = 0
    for _ in range(max_steps):
        op = data[at]
        at += 1
        if op == MEMOIZE:
            memo[len(memo)] = stack[-1]
        elif op == SHORT_BINUNICODE:
            end = at + 1 + data[at]
            if end > len(data):
                raise IndexError
            stack.append(data[at + 1 : end].decode("utf-8", "surrogatepass"))
            at = end
        elif op == BINGET:
            stack.append(memo[data[at]])
            at += 1
        elif op == BUILD:
            state = stack.pop()
            set_state(stack[-1], state)
            if seen is not None:
                seen.append(state)
        elif op == EMPTY_DICT:
            stack.append(Pairs())
        elif op == EMPTY_TUPLE:
            stack.append(())
        elif op == NEWOBJ:
            args = stack.pop()
            stack[-1] = machine.call(stack[-1], args)
        elif op == MARK:
            marks.append(len(stack))
        elif op == SETITEMS:
            add_pairs(machine.pop_mark(), stack[-1])
        elif op == NONE:
            stack.append(None)
        elif op == BININT1:
            stack.append(data[at])
            at += 1
        elif op == STACK_GLOBAL:
            name = stack.pop()
            stack[-1] = machine.name(text(stack[-1]), text(name))
        elif op == SETITEM:
            value = stack.pop()
            add_pairs([stack.pop(), value], stack[-1])
        elif op == APPEND:
            add_items([stack.pop()], stack[-1])
        elif op == EMPTY_LIST:
            stack.append([])
        elif op == TUPLE2:
            stack[-2:] = [(stack[-2], stack[-1])]
        elif op == REDUCE:
            args = stack.pop()
            stack[-1] = machine.call(stack[-1], args)
        elif op == STOP:
            return stack.pop()
        else:
            machine.at = at
            RARE[op](machine)
            at = machine.at
    raise too_many_steps(max_steps)

"""Fuzzes the description of jobs. Bytes become a state, a part of one, or damages of a written one.

    python tests/describe/fuzz/fuzz_describe.py [libFuzzer's options] [folders of inputs]

Any state must be described without an error, in bounded texts, the same by the compiled reader and
by its twin, whose coverage guides the fuzzer. Where Python's own unpickler makes plain values of
the state, the description must agree with them.
`ci/sanitize --full` runs it for a while. `tests/describe/test_fuzz_corpus.py` repeats the inputs
kept in `corpus/` beside this file.
"""

import io
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

PLAIN = (type(None), bool, int, float, str, bytes)
MOST = 2000  # values in a state that is compared
LONGEST = 600  # characters of a text


class TooLargeError(Exception):
    """A value is too large to be compared, or is in itself."""


def size(value, most=MOST):
    """Count the values in a value, each as often as it is found.

    :raises TooLargeError: if there are more than the most.
    """
    count, found = 0, [value]
    while found:
        each = found.pop()
        count += 1
        if count > most:
            raise TooLargeError
        if isinstance(each, dict):
            found += each
            found += each.values()
        elif isinstance(each, (list, tuple, set, frozenset)):
            found += each
    return count


class StandIn:
    """Stands for every class; its objects are not compared."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


class Restricted(pickle._Unpickler):
    """Unpickles plain values; in Python, where no damaged number takes gigabytes.

    A key that is hashed is small, and there is no second one like it.
    """

    def find_class(self, module, name):
        return StandIn

    def get_extension(self, code):
        raise pickle.UnpicklingError(f"extension {code}")

    def add(self, pairs, target):
        if type(target) is not dict:
            raise TooLargeError
        place = dict(target)
        for key in pairs[::2]:
            size(key)
            if key in place:
                raise TooLargeError
            place[key] = None

    def load_reduce(self):
        if type(self.stack[-1]) is not tuple:  # the error would have the `str` of what is called
            raise TooLargeError
        super().load_reduce()

    def load_setitem(self):
        self.add(self.stack[-2:], self.stack[-3])
        super().load_setitem()

    def load_setitems(self):
        self.add(self.stack, self.metastack[-1][-1])
        super().load_setitems()

    def load_dict(self):
        self.add(self.stack, {})
        super().load_dict()

    def load_additems(self):
        self.add([part for each in self.stack for part in (each, None)], {})
        super().load_additems()

    def load_frozenset(self):
        self.add([part for each in self.stack for part in (each, None)], {})
        super().load_frozenset()


Restricted.dispatch = {
    **pickle._Unpickler.dispatch,
    pickle.REDUCE[0]: Restricted.load_reduce,
    pickle.SETITEM[0]: Restricted.load_setitem,
    pickle.SETITEMS[0]: Restricted.load_setitems,
    pickle.DICT[0]: Restricted.load_dict,
    pickle.ADDITEMS[0]: Restricted.load_additems,
    pickle.FROZENSET[0]: Restricted.load_frozenset,
}
del Restricted.dispatch[pickle.BYTEARRAY8[0]]  # it would take the memory of any announced length


def is_plain(value):
    """Whether the `repr` of all values in it needs no code, and no order of hashes."""
    found = [value]
    while found:
        each = found.pop()
        if type(each) is dict:
            found += [*each, *each.values()]
        elif type(each) in (list, tuple) or (type(each) in (set, frozenset) and len(each) < 2):
            found += each
        elif type(each) not in PLAIN:
            return False
    return True


def loaded(state):
    """Return the dict of a state, or None."""
    try:
        content = Restricted(io.BytesIO(state)).load()
        size(content)
        return content if type(content) is dict else None
    except Exception:  # of any kind: the state is damaged
        return None


def state_of(data):
    """Return the state that the bytes encode: the first says how."""
    from states.fuzz.fuzz_states import bases, damage

    from support.hostile_places import PLACES

    places = list(PLACES.values())
    kind, rest = data[0] % (len(places) + 9) if data else 0, data[1:]
    if kind < len(places):
        return places[kind](rest)
    numbers = iter(rest)
    return damage(bases()[next(numbers, 0) % len(bases())][0], numbers)


def run(data):
    """Describe the state that the bytes encode, and check the description.

    :returns: whether it was compared with the values that the unpickler made.
    """
    from jobstore.about import About
    from jobstore.describe import JobInfo, about_state, describe
    from jobstore.run_times import UnreadableError
    from support.both_readers import describe_by_the_other

    state = state_of(data)
    document = {"_id": "an id", "next_run_time": None, "job_state": state}
    info = describe(document)
    assert type(info) is JobInfo
    assert info == describe_by_the_other(document)
    assert info.bytes == len(state)
    texts = info.name, info.func, info.trigger, info.executor, info.args, info.kwargs
    for text in (*texts, info.unreadable):
        assert text is None or (type(text) is str and len(text) <= LONGEST + len(state)), text
    try:
        about = about_state(state)
    except UnreadableError:
        about = None
    assert about is None or type(about) is About
    content = loaded(state)
    if content is None or info.unreadable is not None:
        return False
    agree(info, content)
    return True


def agree(info, content):
    """Compare a description with the values of the state."""
    for name in ("misfire_grace_time", "max_instances"):
        assert getattr(info, name) == content[name]
    assert info.coalesce is bool(content["coalesce"])
    for name in ("name", "func", "executor"):
        assert getattr(info, name) == content[name]
    for name in ("args", "kwargs"):
        text, value = getattr(info, name), content[name]
        if is_plain(value):
            full = repr(value)
            assert text == full or len(full) > 200 or "…" in text, (text, full)


def main():
    import atheris

    with atheris.instrument_imports(include=["jobstore"]):
        import jobstore.describe  # noqa: F401
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Fuzzes the search in states. Bytes become damages of a state that APScheduler wrote.

    python tests/states/fuzz/fuzz_states.py [libFuzzer's options] [folders of inputs]

A core built by gcc reports no coverage, so the coverage of the Python twin guides the fuzzer. Both
must agree about the damaged state. If that still has the run time, the advanced one has the new run
time, and is else the same. `ci/sanitize --full` runs it for a while on the sanitized core.
`tests/states/test_damaged.py` repeats the inputs kept in `corpus/` beside this file.
"""

import io
import pickle
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

MODULES = ("apscheduler.triggers", "datetime", "pytz", "zoneinfo")


class Restricted(pickle._Unpickler):
    """Unpickles in Python, where no damaged number takes gigabytes, and only known classes."""

    def find_class(self, module, name):
        if not module.startswith(MODULES):
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def loads(state):
    return Restricted(io.BytesIO(state)).load()


@cache
def bases():
    """Return intact states with their run times."""
    from states.write_states import read

    return [(state, pickle.loads(state)["next_run_time"]) for _, state in read()]


def damage(state, numbers):
    """Change, insert, remove and copy bytes: near the end, most of all."""
    damaged = bytearray(state)
    for code in numbers:
        place = len(damaged) - 1 - next(numbers, 0)
        value = next(numbers, 0)
        if code & 8:
            place = place * next(numbers, 0) // 256
        place = max(0, place)
        if code % 8 < 3:
            damaged[place : place + 1] = bytes([value])
        elif code % 8 == 3:
            damaged[place : place + 1] = bytes([damaged[place] ^ 1 << value % 8 if damaged else 0])
        elif code % 8 == 4:
            damaged.insert(place, value)
        elif code % 8 == 5:
            del damaged[place : place + value % 5]
        elif code % 8 == 6:
            del damaged[place:]
        else:
            damaged += damaged[place : place + value]
    return bytes(damaged)


def run(data):
    """Damage a state as the bytes say; advance it with both twins; check the result.

    :returns: whether it was advanced, though it was damaged.
    """
    from support.states import advance, assert_same

    numbers = iter(data)
    state, old = bases()[next(numbers, 0) % len(bases())]
    new = old + timedelta(days=1 + next(numbers, 0), microseconds=next(numbers, 0))
    damaged = damage(state, numbers)
    advanced = advance(damaged, old, new)
    if advanced is None:
        return False
    assert len(advanced) == len(damaged)
    try:
        content = loads(damaged)
        assert_same(content["next_run_time"], old)
    except Exception:
        return damaged != state  # it is no state of this run time any more
    assert_same(loads(advanced), content | {"next_run_time": new})
    return damaged != state


def main():
    import atheris

    with atheris.instrument_imports(include=["jobstore._states_py"]):
        import support.states  # noqa: F401
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

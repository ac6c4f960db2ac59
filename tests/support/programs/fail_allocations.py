"""Run by test_no_memory.py in its own process: repeats one call, and lets another allocation fail
each time.

It makes all objects beforehand, so that only the call itself allocates memory while none is left.
"""

import gc
import sys
from _testcapi import remove_mem_hooks, set_nomemory

from jobstore._index_c import JobIndex
from support.indexes import Slotted, at, by_id, content, job

FAILED = object()


def make(count, step=7):
    """Make an index with tiny leaves, of jobs with even numbers at times out of order."""
    index = JobIndex(4)
    for number in range(0, 2 * count, 2):
        index.add(job(f"job{number:05}", None if number % 18 == 0 else number * step % 41))
    return index


class Name(str):
    """An id that the index must copy."""


def mixed(count):
    """Make jobs: new, stored, stored with the same time, and several with one id."""
    jobs = [job(Name(f"job{number:05}"), number * 11 % 41) for number in range(count)]
    jobs += [job(f"job{number:05}", number * 7 % 41) for number in range(0, count, 4)]
    jobs += [job(f"job{number:05}") for number in range(0, count, 3)]
    return jobs


def ids(jobs):
    return [job.id for job in jobs]


def each_add():
    """Add at the front, the middle and the end, from an empty index to one of five levels."""
    for count in [*range(90), *range(250, 270), 1100]:
        for name, seconds in [("front", -1), ("job00031", 20), ("middle", 20), ("zz", None)]:
            yield (lambda count=count: make(count)), "add", (job(name, seconds),)


def each_replace():
    for count in [*range(1, 90), 1100]:
        for number in {0, count // 2, count - 1}:
            for seconds in (-1, 20, 40, None):
                given = job(f"job{2 * number:05}", seconds)
                yield (lambda count=count: make(count)), "replace", (given,)


def each_remove():
    for count in range(1, 40):
        for number in (0, count // 2, count - 1):
            yield (lambda count=count: make(count)), "remove", (f"job{2 * number:05}",)
    yield nearly_all_removed, "remove", ("job00000",)


def nearly_all_removed():
    """Make an index whose next removal shrinks its table, which must allocate a smaller one."""
    index = make(2000)
    for number in range(500, 4000, 2):
        index.remove(f"job{number:05}")
    return index


def each_list():
    for count in (0, 1, 5, 100, 1000):
        yield (lambda count=count: make(count)), "all", ()
        yield (lambda count=count: make(count)), "page", (1_900_000_000_000_000, "job00031", 1000)
        for seconds in (-1, 0, 20, 40):
            yield (lambda count=count: make(count)), "due", (at(seconds),)


def each_without_memory():
    for count in (0, 1, 5, 100, 1000):
        for name, args in ("clear", ()), ("get", ("job00000",)), ("first_run_time", ()):
            yield (lambda count=count: make(count)), name, args


def each_many(name):
    def cases():
        for count in [*range(24), 60, 100]:
            for given in (0, 1, 2, 7, 40):
                jobs = mixed(given)
                yield (lambda count=count: make(count)), name, (jobs,)
                yield (lambda count=count: make(count)), name, (tuple(jobs[::-1]),)

    return cases


def each_remove_many():
    for count in [*range(24), 60, 100]:
        for given in (0, 1, 2, 7, 40):
            names = [*ids(mixed(given)), 1e9 + count, object(), "absent"]
            yield (lambda count=count: make(count)), "remove_many", (names,)
    names = [f"job{number:05}" for number in range(0, 400, 2)]
    yield nearly_all_removed, "remove_many", (names,)


def without_memory(call, args, first, last):
    """Make the call, and let its allocations after `first` up to `last` fail; 0 means all later."""
    set_nomemory(first, last)
    try:
        result = call(*args)
    except MemoryError:
        result = FAILED
    remove_mem_hooks()
    return result


def seen(index, args):
    """Return the content of the index and the reference counts of jobs and ids."""
    given = args[0] if args and isinstance(args[0], (list, tuple)) else args
    things = [*index, *given]
    things += [thing.id for thing in things if isinstance(thing, Slotted)]
    return content(index), [sys.getrefcount(thing) for thing in things]


def described(result):
    results = result if isinstance(result, list) else [result]
    things = [thing[:2] if isinstance(thing, tuple) else thing for thing in results]  # of a page
    return [getattr(thing, "id", thing) for thing in things]


def fail_each_allocation(make_index, name, args):
    """Make the call with each of its allocations failing in turn; return the number of failures."""
    model = make_index()
    expected = described(getattr(model, name)(*args)), by_id(model)

    def fails(first, last):
        index = make_index()
        before = seen(index, args)
        result = without_memory(getattr(index, name), args, first, last)
        if result is FAILED:
            assert seen(index, args) == before, (name, args, first, last)
            return True
        assert (described(result), by_id(index)) == expected, (name, args, first, last)
        return False

    def leak(first, last):
        allocated = sys.getallocatedblocks()
        without_memory(getattr(make_index(), name), args, first, last)
        return sys.getallocatedblocks() - allocated - 1  # 1 for the number itself

    def fails_without_leak(first, last):
        # Python's own allocations vary now and then, but not twice in a row.
        assert leak(first, last) <= 0 or leak(first, last) <= 0, (name, args, first, last)
        return fails(first, last)

    first = 0
    while fails_without_leak(first, 0):
        first += 1
    # A call can survive some failures: so look beyond the first success, too.
    return first + sum(fails_without_leak(only, only + 1) for only in range(first + 10))


def each_construction():
    """Let each allocation of a constructor fail."""
    for args in (), (4,), (64,):
        for last in (lambda first: 0, lambda first: first + 1):
            results = [without_memory(JobIndex, args, first, last(first)) for first in range(5)]
            assert results[0] is FAILED
            for index in results:
                if index is not FAILED:
                    index.add(job("new", 1))
                    assert by_id(index)[1] == 1
                    break
            else:
                raise AssertionError(results)
    return 1


def each_legacy_string():
    """Use legacy strings (3.10 and 3.11), whose first use as an id allocates memory."""
    try:
        from _testcapi import unicode_legacy_string
    except ImportError:
        return 1
    failures = 0
    for first in range(10):
        for call, expected in (("add", 11), ("get", 10), ("remove_many", 10)):
            index = make(10)
            name = unicode_legacy_string("job00001")
            given = {"add": job(name, 1), "get": name, "remove_many": ("absent", name)}[call]
            result = without_memory(getattr(index, call), (given,), first, first + 1)
            assert by_id(index)[1] == (10 if result is FAILED else expected)
            failures += result is FAILED
    return failures


def collected_while_failing():
    """Let the collector run while a failing call makes its MemoryError.

    On 3.10 and 3.11 that happens once the MemoryErrors made beforehand are used up, and while
    another error is being handled.
    """
    failures = 0
    for name, names in (
        ("remove_many", [*(f"job{n:05}" for n in range(60)), "absent"]),
        ("add_many", ["before", *(f"job{n:05}" for n in range(60)), "after"]),
        ("replace_many", [*(f"job{n:05}" for n in range(60)), "absent"]),
    ):
        args = (tuple(names if name == "remove_many" else [job(n, 5) for n in names]),)
        for first in range(30):
            index = make(40)
            before, found = by_id(index), []

            class Last:
                def __del__(self, index=index, found=found):
                    found.append(by_id(index))

            last = Last()
            last.itself = last
            del last
            call = getattr(index, name)
            held = [MemoryError() for _ in range(100)]
            try:
                raise LookupError
            except LookupError:
                gc.set_threshold(1)
                gc.enable()
                result = without_memory(call, args, first, first + 1)
                gc.disable()
            gc.collect()
            held.clear()
            after = by_id(index)
            assert len(found) == 1
            assert found[0] in (before, after), (name, first)
            assert result is not FAILED or after == before
            failures += result is FAILED
    return failures


CASES = {
    "add": each_add,
    "replace": each_replace,
    "add_many": each_many("add_many"),
    "replace_many": each_many("replace_many"),
    "put_many": each_many("put_many"),
    "remove_many": each_remove_many,
    "due, page and all": each_list,
    "remove": each_remove,
    "clear, get and first_run_time": each_without_memory,
}
OTHERS = {
    "construction": each_construction,
    "a collection": collected_while_failing,
    "legacy strings": each_legacy_string,
}

if __name__ == "__main__":
    gc.disable()
    chosen = sys.argv[1]
    if chosen in OTHERS:
        print(OTHERS[chosen]())
    else:
        print(sum(fail_each_allocation(*case) for case in CASES[chosen]()))

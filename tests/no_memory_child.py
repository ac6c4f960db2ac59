"""Run by test_no_memory.py in a process of its own: one call, again and again, each time with
another of its allocations failing.

Everything that the moment without memory needs is made before it, so that only the call itself
asks for memory then.
"""

import gc
import sys
from _testcapi import remove_mem_hooks, set_nomemory

from support import at, content, job

from jobstore._index_c import JobIndex

UNTIL_END, ONE = "all from then on", "only one"


def make(count, step=7):
    """An index in which splits come soon: jobs with even numbers, at times out of order."""
    index = JobIndex(4)
    for number in range(0, 2 * count, 2):
        index.add(job(f"job{number:05}", None if number % 18 == 0 else number * step % 41))
    return index


def mixed(count):
    """Jobs that are new, stored, stored at the same time, and several of one id."""
    jobs = [job(f"job{number:05}", number * 11 % 41) for number in range(count)]
    jobs += [job(f"job{number:05}", number * 7 % 41) for number in range(0, count, 4)]
    jobs += [job(f"job{number:05}") for number in range(0, count, 3)]
    return jobs


def ids(jobs):
    return [job.id for job in jobs]


def each_add():
    """Adding at the front, the middle and the end, from an empty index to one of five levels."""
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
    """One more removal, and memory is given back, for which memory must be taken."""
    index = make(2000)
    for number in range(500, 4000, 2):
        index.remove(f"job{number:05}")
    return index


def each_read():
    for count in (0, 1, 5, 100, 1000):
        yield (lambda count=count: make(count)), "all", ()
        yield (lambda count=count: make(count)), "first_run_time", ()
        yield (lambda count=count: make(count)), "get", ("job00000",)
        for seconds in (-1, 0, 20, 40):
            yield (lambda count=count: make(count)), "due", (at(seconds),)


def each_clear():
    for count in (0, 1, 5, 100, 1000):
        yield (lambda count=count: make(count)), "clear", ()


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
            names = [*ids(mixed(given)), 7, None, "absent"]
            yield (lambda count=count: make(count)), "remove_many", (names,)
    names = [f"job{number:05}" for number in range(0, 400, 2)]
    yield nearly_all_removed, "remove_many", (names,)


CASES = {
    "add": each_add,
    "replace": each_replace,
    "remove": each_remove,
    "read": each_read,
    "clear": each_clear,
    "add_many": each_many("add_many"),
    "replace_many": each_many("replace_many"),
    "put_many": each_many("put_many"),
    "remove_many": each_remove_many,
}


def without_memory(call, args, first, last):
    """Make the call; the allocations after the `first` and up to the `last` fail."""
    failed, result = False, None
    set_nomemory(first, last)
    try:
        result = call(*args)
    except MemoryError:
        failed = True
    remove_mem_hooks()
    return failed, result


def comparable(result):
    return result if isinstance(result, list) else [result]


def seen(index, args):
    """What the index holds, and how often each job and id is referred to."""
    given = args[0] if args and isinstance(args[0], (list, tuple)) else args
    objects = [*index, *(job.id for job in index), *given]
    objects += [job.id for job in given if hasattr(job, "id")]
    return content(index), [sys.getrefcount(thing) for thing in objects]


def check(make_index, name, args):
    """Fail every allocation of that call in turn; return how many failures it had."""
    model = make_index()
    expected = getattr(model, name)(*args)
    after = by_id(model, expected)
    failures = first = 0
    index = None
    # One failure is survived where the call can do without; so go on beyond the last for sure.
    for kind, beyond in (UNTIL_END, 0), (ONE, 20):
        first = 0 if kind == UNTIL_END else first
    raise NotImplementedError


def main():
    gc.disable()


if __name__ == "__main__":
    main()

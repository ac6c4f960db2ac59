"""Fuzzes the index. Bytes become operations on the compiled core, its twin and the stock store.

    python tests/index/fuzz/fuzz_index.py [libFuzzer's options] [folders of inputs]

A core built by gcc reports no coverage, so the coverage of the Python twin guides the fuzzer. The
three stores must agree after each operation. At the end, every invariant of the index must hold
(see `tests/support/three_stores.py`). `ci/sanitize --full` runs it for a while on the sanitized
core. `tests/index/test_fuzz_corpus.py` repeats the inputs kept in `corpus/` beside this file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

TIMES = [None, *range(8), -1, 10**9, 0.000001]


def run(data):
    """Run the operations that the bytes encode: a code, then its arguments and lengths of lists."""
    from support.indexes import at, job
    from support.three_stores import ThreeStores

    numbers = iter(data)

    def number():
        return next(numbers, 0)

    def a_job():
        return job(str(number() % 24), TIMES[number() % len(TIMES)])

    def some(make):
        return [make() for _ in range(number() % 40)]

    def an_id():
        return str(number() % 24)

    stores = ThreeStores(leaf_capacity=4 + number() % 4)
    operations = [
        lambda: stores.add(a_job()),
        lambda: stores.update(a_job()),
        lambda: stores.remove(an_id()),
        lambda: stores.lookup(an_id()),
        lambda: stores.due(at(number() % 10 - 1)),
        lambda: stores.add_many(some(a_job)),
        lambda: stores.put_many(some(a_job)),
        lambda: stores.update_many(some(a_job)),
        lambda: stores.remove_many(some(an_id)),
        lambda: move(stores, number(), number()),
        stores.next_run_time,
        stores.clear,
    ]
    for code in numbers:
        operations[code % len(operations)]()
    stores.check()


def move(stores, place, time):
    """Change a stored job in place, then tell the stores, as the scheduler does."""
    from support.indexes import job

    jobs = stores.stock.get_all_jobs()
    if jobs:
        changed = jobs[place % len(jobs)]
        changed.next_run_time = job("", TIMES[time % len(TIMES)]).next_run_time
        stores.update(changed)


def main():
    import atheris

    with atheris.instrument_imports(include=["jobstore._index_py", "support.three_stores"]):
        import support.three_stores  # noqa: F401
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

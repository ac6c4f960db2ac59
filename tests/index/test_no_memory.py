"""A call that gets no memory raises MemoryError and has changed nothing.

Each of its allocations fails in turn, alone and with all that follow, in a process of its own:
not all of Python withstands what the index does.
"""

import pytest

from support.programs import output

pytest.importorskip(
    "_testcapi", reason="needs _testcapi of CPython's own tests (Debian: libpython3-testsuite)"
)

NEEDS_MEMORY = [
    "add",
    "replace",
    "add_many",
    "replace_many",
    "put_many",
    "remove_many",
    "due and all",
    "construction",
    "a collection",
    "legacy strings",
]
NEEDS_NONE = ["remove", "clear, get and first_run_time"]


@pytest.mark.parametrize("case", NEEDS_MEMORY)
def test_no_allocation_that_fails_leaves_a_change_half_done(case):
    failures = int(output("fail_allocations", case))
    assert failures > 0, "the test did not test what it should: nothing failed"


@pytest.mark.parametrize("case", NEEDS_NONE)
def test_removing_and_looking_up_never_fail_for_want_of_memory(case):
    failures = int(output("fail_allocations", case))
    assert failures == 0

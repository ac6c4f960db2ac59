"""A call that gets no memory raises MemoryError and changes nothing.

In a separate process, each allocation of a call fails in turn, alone and with all later ones. The
process is separate because other parts of Python don't survive failing allocations.
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
    "due, page and all",
    "construction",
    "a collection",
    "legacy strings",
]
NEEDS_NONE = ["remove", "clear, get and first_run_time"]


@pytest.mark.parametrize("case", NEEDS_MEMORY)
def test_failed_allocation_leaves_no_partial_change(case):
    failures = int(output("fail_allocations", case))
    assert failures > 0, "the case under test did not occur: no allocation failed"


@pytest.mark.parametrize("case", NEEDS_NONE)
def test_removal_and_lookup_need_no_memory(case):
    failures = int(output("fail_allocations", case))
    assert failures == 0

"""The package as users see it: public names, version, choice of the index, alias."""

import importlib.metadata
import os
import subprocess
import sys

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore
from support.memory_stores import CompiledIndex, PythonIndex


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_version_equals_that_of_the_metadata():
    assert importlib.metadata.version("jobstore") == jobstore.__version__


def test_all_public_names_can_be_imported():
    assert {name for name in jobstore.__all__ if hasattr(jobstore, name)} == set(jobstore.__all__)


@pytest.mark.parametrize(
    ("pure", "backend", "module"),
    [("0", "c", "jobstore._index_c"), ("1", "python", "jobstore._index_py")],
)
def test_backend_names_the_index_in_use(pure, backend, module):
    code = (
        "import jobstore; store = jobstore.MemoryJobStore();"
        "print(jobstore.backend, type(store._index).__module__)"
    )
    ran = run_python(code, JOBSTORE_PURE_PYTHON=pure)
    assert ran.stdout.split() == [backend, module], ran.stderr


def test_missing_compiled_core_raises_an_error_with_instructions():
    code = "import sys; sys.modules['jobstore._index_c'] = None; import jobstore"
    ran = run_python(code, JOBSTORE_PURE_PYTHON="0")
    assert ran.returncode == 1
    assert "compiled core can't be imported" in ran.stderr
    assert "pip install -e ." in ran.stderr
    assert "JOBSTORE_PURE_PYTHON=1" in ran.stderr


@pytest.mark.parametrize("index", [CompiledIndex, PythonIndex])
def test_leaf_capacity_is_checked(index):
    for size in (3, 65):
        with pytest.raises(ValueError, match=f"leaf_capacity must be 4 to 64, not {size}"):
            index(size)
    for size in (4, 64):
        assert len(index(size)) == 0


def test_alias_fastmemory_makes_our_store():
    scheduler = BackgroundScheduler({"apscheduler.jobstores.default": {"type": "fastmemory"}})
    scheduler.add_jobstore("fastmemory", "other")
    scheduler.start(paused=True)
    try:
        job = scheduler.add_job(print, "interval", hours=1)
        assert scheduler.get_job(job.id) is job
        stores = [scheduler._lookup_jobstore(alias) for alias in ("default", "other")]
        assert [type(store) for store in stores] == [jobstore.MemoryJobStore] * 2
        assert [len(store) for store in stores] == [1, 0]
    finally:
        scheduler.shutdown()


def test_compiled_core_loads_into_one_interpreter_only():
    """CPython's module for interpreters has another name from 3.13 on."""
    code = (
        "import jobstore\n"
        "try: import _interpreters as interpreters\n"
        "except ImportError: import _xxsubinterpreters as interpreters\n"
        "other = interpreters.create()\n"
        "code = 'try: import jobstore\\nexcept ImportError as error: print(error, flush=True)'\n"
        "interpreters.run_string(other, code)\n"
        "interpreters.destroy(other)\n"
    )
    assert "compiled core can't be imported" in run_python(code, JOBSTORE_PURE_PYTHON="0").stdout

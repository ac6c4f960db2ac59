"""The command `index`: makes jobs findable by function, tag and executor."""

from .options import TargetUrl
from .output import Output
from .progress import progress_bar
from .target import open_store

__all__ = ["index"]


def index(target: TargetUrl = None) -> None:
    """Make jobs quick to find by function, tag or executor.

    This describes all jobs in a field of their documents, then creates the indexes on it.

    The user needs the rights find, update and createIndex. Schedulers may run meanwhile. A second
    run describes only the jobs that need it.

    Examples:

    \b
      jobstore index mongodb://localhost/apscheduler.jobs
    """
    with open_store(target, writes=True) as (store, _):
        output = Output()
        jobs = len(store)
        with progress_bar("describing jobs") as update:
            described = store.describe_all(progress=lambda done, key: update(done, max(done, jobs)))
        output.line(f"{described:,} jobs are newly described")
        store.create_indexes()
        output.line("the indexes exist")

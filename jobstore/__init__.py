"""Job stores for APScheduler 3.x that stay fast at a million jobs.

`MemoryJobStore` and `MongoDBJobStore` replace APScheduler's own stores by one changed import.
`add_jobs` adds many jobs to a scheduler at once. `backend` names the index in use: ``"c"``, the
compiled one, or ``"python"``, its twin. `MongoDBJobStore` needs the extra ``jobstore[mongodb]``, so
it is imported at its first use, and ``import *`` leaves it out.
"""

from typing import TYPE_CHECKING, Any

from ._index import backend
from .base import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
    TransientJobsError,
)
from .bulk import add_jobs
from .describe import JobInfo
from .memory import MemoryJobStore
from .where import Where

if TYPE_CHECKING:
    from .mongodb import MongoDBJobStore as MongoDBJobStore

__version__ = "0.1.0"

__all__ = [
    "BaseJobStore",
    "ConflictingIdError",
    "ConflictingIdsError",
    "JobInfo",
    "JobLookupError",
    "JobsLookupError",
    "MemoryJobStore",
    "TransientJobsError",
    "Where",
    "__version__",
    "add_jobs",
    "backend",
]


def __getattr__(name: str) -> Any:
    if name == "MongoDBJobStore":
        from .mongodb import MongoDBJobStore

        return MongoDBJobStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

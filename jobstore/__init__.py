"""Job stores for APScheduler 3.x that stay fast at a million jobs.

`MemoryJobStore` and `MongoDBJobStore` replace APScheduler's own stores by one changed import.
`add_jobs` adds many jobs to a scheduler at once. `backend` names the index in use: ``"c"``, the
compiled one, or ``"python"``, its twin. `MongoDBJobStore` and `health` need the extra
``jobstore[mongodb]``, so they are imported at their first use, and ``import *`` leaves them out.
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
    from .mongodb.health.health import health as health

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
    if name == "health":
        from .mongodb.health.health import health

        return health
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

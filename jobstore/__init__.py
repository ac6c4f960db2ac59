"""Job stores for APScheduler 3.x that stay fast at a million jobs.

`MemoryJobStore` takes the place of APScheduler's own by one changed import; `add_jobs` adds many
jobs to a scheduler at once; `backend` says which index is at work: ``"c"``, the compiled one, or
``"python"``, its twin.
"""

from ._index import backend
from .base import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
)
from .bulk import add_jobs
from .memory import MemoryJobStore

__version__ = "0.1.0"

__all__ = [
    "BaseJobStore",
    "ConflictingIdError",
    "ConflictingIdsError",
    "JobLookupError",
    "JobsLookupError",
    "MemoryJobStore",
    "__version__",
    "add_jobs",
    "backend",
]

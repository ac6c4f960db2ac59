"""A job store in MongoDB that reads twice and writes once in a scheduler's cycle."""

try:
    import pymongo as _pymongo  # noqa: F401
except ImportError as error:
    raise ImportError("MongoDBJobStore needs PyMongo: pip install jobstore[mongodb]") from error

from .health.finding import Finding
from .health.health import Health
from .history.answer import Answer
from .history.record import HistoryRecord
from .looking.statistics import Statistics
from .status import Status
from .store import MongoDBJobStore
from .trust.all_states import UnverifiedJob, Verification
from .writes.quarantine import QuarantinedJob

__all__ = [
    "Answer",
    "Finding",
    "Health",
    "HistoryRecord",
    "MongoDBJobStore",
    "QuarantinedJob",
    "Statistics",
    "Status",
    "UnverifiedJob",
    "Verification",
]

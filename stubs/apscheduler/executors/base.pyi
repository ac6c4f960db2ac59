import logging
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from apscheduler.job import Job

class BaseExecutor(metaclass=ABCMeta):
    _lock: AbstractContextManager[Any]
    _logger: logging.Logger
    _instances: dict[str, int]
    @abstractmethod
    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None: ...
    def _run_job_success(self, job_id: str, events: Sequence[object]) -> None: ...

from collections.abc import Sequence
from datetime import datetime

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job

class ThreadPoolExecutor(BaseExecutor):
    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None: ...

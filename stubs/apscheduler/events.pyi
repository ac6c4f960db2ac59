from datetime import datetime

EVENT_JOB_ADDED: int
EVENT_JOB_ERROR: int
EVENT_JOB_EXECUTED: int
EVENT_JOB_MAX_INSTANCES: int
EVENT_JOB_MISSED: int

class SchedulerEvent:
    code: int
    alias: str | None

class JobEvent(SchedulerEvent):
    job_id: str
    jobstore: str
    def __init__(self, code: int, job_id: str, jobstore: str) -> None: ...

class JobSubmissionEvent(JobEvent):
    scheduled_run_times: list[datetime]

class JobExecutionEvent(JobEvent):
    scheduled_run_time: datetime
    exception: BaseException | None

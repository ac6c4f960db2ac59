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

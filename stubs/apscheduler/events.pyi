EVENT_JOB_ADDED: int

class SchedulerEvent:
    code: int
    alias: str | None

class JobEvent(SchedulerEvent):
    job_id: str
    jobstore: str
    def __init__(self, code: int, job_id: str, jobstore: str) -> None: ...

from datetime import timedelta

from apscheduler.triggers.base import BaseTrigger

class IntervalTrigger(BaseTrigger):
    interval: timedelta
    jitter: float | None
    interval_length: float

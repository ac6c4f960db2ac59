from apscheduler.triggers.base import BaseTrigger

class IntervalTrigger(BaseTrigger):
    interval_length: float

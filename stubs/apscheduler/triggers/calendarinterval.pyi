from apscheduler.triggers.base import BaseTrigger

class CalendarIntervalTrigger(BaseTrigger):
    __slots__: tuple[str, ...]

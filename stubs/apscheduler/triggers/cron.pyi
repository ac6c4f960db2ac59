from apscheduler.triggers.base import BaseTrigger

class CronTrigger(BaseTrigger):
    FIELDS_MAP: dict[str, type]

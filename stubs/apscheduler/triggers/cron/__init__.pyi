from datetime import datetime, tzinfo
from typing import Any

from apscheduler.triggers.base import BaseTrigger

class CronTrigger(BaseTrigger):
    FIELDS_MAP: dict[str, type]
    timezone: tzinfo
    start_date: datetime | None
    end_date: datetime | None
    fields: list[Any]
    jitter: int | None
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...

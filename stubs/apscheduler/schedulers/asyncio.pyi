from typing import Any

from apscheduler.schedulers.base import BaseScheduler

class AsyncIOScheduler(BaseScheduler):
    def __init__(self, gconfig: dict[str, Any] = ..., **options: Any) -> None: ...

from typing import Any

from apscheduler.schedulers.base import BaseScheduler

class BlockingScheduler(BaseScheduler):
    def __init__(self, gconfig: dict[str, Any] = ..., **options: Any) -> None: ...

from typing import Any

STATE_STOPPED: int
STATE_RUNNING: int
STATE_PAUSED: int

class BaseScheduler:
    def __getattr__(self, name: str) -> Any: ...

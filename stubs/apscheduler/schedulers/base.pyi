from typing import Any

class BaseScheduler:
    def __getattr__(self, name: str) -> Any: ...

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

class Job:
    id: str
    name: str
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    trigger: Any
    executor: str
    misfire_grace_time: int | None
    coalesce: bool
    max_instances: int
    next_run_time: datetime | None
    _scheduler: BaseScheduler | None
    _jobstore_alias: str | None
    def __init__(
        self, scheduler: BaseScheduler | None, id: str | None = None, **kwargs: Any
    ) -> None: ...
    func_ref: str | None
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...
    def _get_run_times(self, now: datetime) -> list[datetime]: ...
    def _modify(self, **changes: Any) -> None: ...

"""A cron trigger with the results of APScheduler's own, computed by compiled code."""

from typing import Any

from apscheduler.job import Job
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger

from ._cron import next_fire_time

__all__ = ["CronTrigger", "use_fast_cron"]


class CronTrigger(StockCronTrigger):
    """Replaces `apscheduler.triggers.cron.CronTrigger`; pickles as that class."""

    __slots__ = ()

    get_next_fire_time = next_fire_time

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as APScheduler's class, so that processes without jobstore can read it."""
        stock = StockCronTrigger.__new__(StockCronTrigger)
        StockCronTrigger.__setstate__(stock, self.__getstate__())
        return stock.__reduce_ex__(protocol)


def use_fast_cron(job: Job) -> None:
    """Give a job whose trigger is exactly APScheduler's `CronTrigger` the fast one instead."""
    if type(job.trigger) is StockCronTrigger:
        fast = CronTrigger.__new__(CronTrigger)
        fast.__setstate__(job.trigger.__getstate__())
        job.trigger = fast

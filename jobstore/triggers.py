"""A cron trigger with the results of APScheduler's own, computed by compiled code."""

from copy import deepcopy
from typing import Any

from apscheduler.job import Job
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger

from ._cron import adopt, next_fire_time

__all__ = ["CronTrigger", "check_fast_cron", "use_fast_cron"]


class CronTrigger(StockCronTrigger):
    """Replaces `apscheduler.triggers.cron.CronTrigger`, with the same run times, but faster.

    It has the stock class's arguments, attributes, errors and texts. Its plugin alias is
    ``fastcron``. It pickles as the stock class: a process without jobstore can read the job. So its
    `__class__` is the stock class, and only `type()` tells the two apart. A copy by the module
    `copy` stays fast, and a subclass pickles as itself.

    >>> from jobstore.triggers import CronTrigger
    >>> scheduler.add_job(print, CronTrigger(hour="8-18", day_of_week="mon-fri"))
    >>> scheduler.add_job(print, CronTrigger.from_crontab("*/5 * * * *"))
    >>> scheduler.add_job(print, "fastcron", minute="*/5")
    """

    __slots__ = ("_schedule",)  # of the compiled search

    get_next_fire_time = next_fire_time

    @property  # type: ignore[misc]  # read-only, unlike an ordinary object
    def __class__(self) -> Any:
        """The class that a pickle names: pickle refuses a reduction to any class but this."""
        cls = type(self)
        return StockCronTrigger if cls is CronTrigger else cls

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the stock class, byte for byte."""
        reduced = super().__reduce_ex__(protocol)
        if type(self) is CronTrigger and reduced[1][0] is CronTrigger:  # from protocol 2 on
            return (reduced[0], (StockCronTrigger,), *reduced[2:])
        return reduced

    def __copy__(self) -> "CronTrigger":
        """Copy without a reduction, whose copy would be of the stock class."""
        copy = type(self).__new__(type(self))
        copy.__setstate__(self.__getstate__())
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "CronTrigger":
        """Copy deeply without a reduction, whose copy would be of the stock class."""
        copy = memo[id(self)] = type(self).__new__(type(self))
        copy.__setstate__(deepcopy(self.__getstate__(), memo))
        return copy


adopt(CronTrigger)


def use_fast_cron(job: Job) -> None:
    """Give a job whose trigger is exactly the stock `CronTrigger` the fast one instead; O(1).

    The fast trigger shares the stock trigger's attributes. Any other trigger stays: an instance of
    a subclass, say, or an `AndTrigger` of cron triggers.
    """
    stock = job.trigger
    if type(stock) is StockCronTrigger:
        fast = CronTrigger.__new__(CronTrigger)
        fast.timezone = stock.timezone
        fast.start_date, fast.end_date = stock.start_date, stock.end_date
        fast.fields, fast.jitter = stock.fields, stock.jitter
        job.trigger = fast


def check_fast_cron(fast_cron: bool) -> None:
    """Refuse any value but True and False.

    :raises ValueError: names the value, and the values allowed.
    """
    if fast_cron not in (False, True):
        raise ValueError(f"fast_cron is {fast_cron!r}: it must be True or False")

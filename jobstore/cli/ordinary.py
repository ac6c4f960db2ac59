"""Classes that the states of ordinary jobs name: they say nothing about a job."""

__all__ = ["is_ordinary"]

TRIGGERS = {
    "calendarinterval:CalendarIntervalTrigger",
    "combining:AndTrigger",
    "combining:OrTrigger",
    "cron:CronTrigger",
    "cron.expressions:AllExpression",
    "cron.expressions:LastDayOfMonthExpression",
    "cron.expressions:MonthRangeExpression",
    "cron.expressions:RangeExpression",
    "cron.expressions:WeekdayPositionExpression",
    "cron.expressions:WeekdayRangeExpression",
    "cron.fields:BaseField",
    "cron.fields:DayOfMonthField",
    "cron.fields:DayOfWeekField",
    "cron.fields:MonthField",
    "cron.fields:WeekField",
    "date:DateTrigger",
    "interval:IntervalTrigger",
}
ORDINARY = {
    *(f"apscheduler.triggers.{name}" for name in TRIGGERS),
    "datetime:date",
    "datetime:datetime",
    "datetime:time",
    "datetime:timedelta",
    "datetime:timezone",
    "pytz:_UTC",
    "pytz:_p",
    "zoneinfo:ZoneInfo",
    "zoneinfo:ZoneInfo._unpickle",
}


def is_ordinary(name: str) -> bool:
    """Whether a name is that of a class of APScheduler's triggers, of times, or of zones."""
    return name in ORDINARY

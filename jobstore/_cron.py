"""Chooses between the two `next_fire_time` functions: the compiled one and its Python twin."""

from apscheduler.triggers.cron import CronTrigger

__all__ = ["next_fire_time"]

next_fire_time = CronTrigger.get_next_fire_time

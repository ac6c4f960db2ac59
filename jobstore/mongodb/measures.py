"""The metrics of a store: their names, their texts, and where each value comes from."""

from collections.abc import Callable
from typing import NamedTuple

from .counters import Counters, Histogram
from .health.finding import LEVELS, Level
from .status import Status

__all__ = ["COUNTERS", "GAUGES", "HISTOGRAMS", "Distribution", "Look", "Metric"]


# Of a gauge with the unit "1", translators to Prometheus make a ratio, and append that to its name.
NO_UNIT = ""


class Look(NamedTuple):
    """The values of one store at one moment."""

    status: Status
    counters: Counters
    level: Level


class Metric(NamedTuple):
    """A metric with one number for each store.

    :ivar name: its name, without the ``_total`` that Prometheus adds to a counter.
    :ivar unit: its unit, as OpenTelemetry writes it.
    :ivar text: a sentence about it.
    :ivar read: returns the number; None while there is none.
    """

    name: str
    unit: str
    text: str
    read: Callable[[Look], float | None]


class Distribution(NamedTuple):
    """A metric with one histogram for each store.

    :ivar name, unit, text: as those of `Metric`.
    :ivar read: returns the histogram.
    """

    name: str
    unit: str
    text: str
    read: Callable[[Counters], Histogram]


def number_of(names: tuple[str, ...] | None) -> int | None:
    """Return the number of names; None if they are unknown."""
    return None if names is None else len(names)


COUNTERS = (
    Metric(
        "jobstore_jobs_fired",
        "{job}",
        "Jobs handed out to the scheduler.",
        lambda look: look.counters.fired,
    ),
    Metric(
        "jobstore_jobs_quarantined",
        "{job}",
        "Jobs that this store has put into quarantine.",
        lambda look: look.counters.quarantined,
    ),
    Metric(
        "jobstore_double_runs",
        "{run}",
        "Runs of which the store knows that another scheduler ran them, too.",
        lambda look: look.counters.doubles,
    ),
    Metric(
        "jobstore_flush_failures",
        "{flush}",
        "Flushes of deferred writes that failed.",
        lambda look: look.counters.flush_failures,
    ),
    Metric(
        "jobstore_guards_lost",
        "{write}",
        "Deferred writes that lost to a change by another process.",
        lambda look: look.counters.guards_lost,
    ),
    Metric(
        "jobstore_claims_lost",
        "{job}",
        "Jobs that the store tried to claim, and other schedulers won.",
        lambda look: look.counters.claims_lost,
    ),
    Metric(
        "jobstore_leases_lost",
        "{job}",
        "Claimed jobs whose lease ended before they were fired.",
        lambda look: look.counters.leases_lost,
    ),
    Metric(
        "jobstore_history_dropped",
        "{record}",
        "Records of the history that were dropped, as its buffer was full.",
        lambda look: look.status.dropped,
    ),
)
GAUGES = (
    Metric(
        "jobstore_health_level",
        NO_UNIT,
        "The health of the store: 0 well, 1 degraded, 2 down.",
        lambda look: LEVELS.index(look.level),
    ),
    Metric(
        "jobstore_firing",
        NO_UNIT,
        "Whether the store may fire jobs: 1, or 0 on a hot standby.",
        lambda look: look.status.firing,
    ),
    Metric(
        "jobstore_connected",
        NO_UNIT,
        "Whether the server answers: 1 or 0.",
        lambda look: look.status.connected,
    ),
    Metric(
        "jobstore_other_schedulers",
        "{scheduler}",
        "Other schedulers that fire the same jobs without sharing them.",
        lambda look: number_of(look.status.others),
    ),
    Metric(
        "jobstore_since_cycle_seconds",
        "s",
        "Seconds since the last cycle ended.",
        lambda look: look.status.since_cycle,
    ),
    Metric(
        "jobstore_cycle_late_seconds",
        "s",
        "Seconds by which the next cycle is late; 0 if it is not.",
        lambda look: max(0.0, -(look.status.expected or 0.0)),
    ),
    Metric(
        "jobstore_overdue_jobs",
        "{job}",
        "Jobs of the collection whose run time is over by more than 1 s, 10,000 at most.",
        lambda look: look.status.overdue,
    ),
    Metric(
        "jobstore_oldest_overdue_seconds",
        "s",
        "Seconds since the earliest of their run times; 0 if no job is overdue.",
        lambda look: None if look.status.overdue is None else look.status.oldest_overdue or 0.0,
    ),
    Metric(
        "jobstore_quarantined_jobs",
        "{job}",
        "Jobs of the collection that are in quarantine, 10,000 at most.",
        lambda look: look.status.quarantined,
    ),
    Metric(
        "jobstore_pending_writes",
        "{job}",
        "Jobs whose deferred writes are not acknowledged.",
        lambda look: look.status.pending,
    ),
    Metric(
        "jobstore_oldest_write_seconds",
        "s",
        "Age of the oldest of these writes; 0 if there are none.",
        lambda look: look.status.oldest or 0.0,
    ),
    Metric(
        "jobstore_flush_failures_in_a_row",
        "{flush}",
        "Flushes that have failed since the last success.",
        lambda look: look.status.flush_failures_in_a_row,
    ),
    Metric(
        "jobstore_lag_seconds",
        "s",
        "Longest time by which the mirror and the wake-ups may be behind the server.",
        lambda look: look.status.lag,
    ),
    Metric(
        "jobstore_missing_indexes",
        "{index}",
        "Missing indexes of the collection.",
        lambda look: number_of(look.status.missing_indexes),
    ),
    Metric(
        "jobstore_pool_too_small",
        NO_UNIT,
        "Whether the client's pool has too few connections: 1 or 0.",
        lambda look: look.status.needed_pool is not None,
    ),
)
HISTOGRAMS = (
    Distribution(
        "jobstore_lateness_seconds",
        "s",
        "How late jobs were when they were handed out.",
        lambda counters: counters.lateness,
    ),
    Distribution(
        "jobstore_cycle_seconds",
        "s",
        "How long cycles took.",
        lambda counters: counters.cycle_times,
    ),
    Distribution(
        "jobstore_claim_seconds",
        "s",
        "How long claims took, in stores that share a collection.",
        lambda counters: counters.claim_times,
    ),
    Distribution(
        "jobstore_flush_seconds",
        "s",
        "How long flushes of deferred writes took.",
        lambda counters: counters.flush_times,
    ),
    Distribution(
        "jobstore_batch_jobs",
        "{job}",
        "How many jobs a cycle handed out, if it handed out any.",
        lambda counters: counters.batch_sizes,
    ),
)

"""Metrics of MongoDB stores, for Prometheus and for OpenTelemetry.

Both read the stores' counters when a value is asked for, so that a metric costs a job nothing.
`collector` needs the extra ``jobstore[metrics]``, and `instrument` the package
``opentelemetry-api``. They import these packages when they are called.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from . import __version__
from .mongodb.counters import Histogram
from .mongodb.health.health import health_of
from .mongodb.inspection import Inspection
from .mongodb.measures import COUNTERS, GAUGES, HISTOGRAMS, Look, Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from prometheus_client.registry import Collector

__all__ = ["collector", "instrument"]

LABEL = "collection"


def collector(*stores: Inspection) -> "Collector":
    """Make a collector of Prometheus for the metrics of stores.

    It keeps no store alive, and reads them at each scrape. That takes some 2 ms for each store, and
    no command.

    >>> from prometheus_client import REGISTRY
    >>> REGISTRY.register(jobstore.metrics.collector(store))

    :param stores: one or more of type `MongoDBJobStore`, each on another collection. They need not
        be started.
    :raises TypeError: for no store, and for one of another type.
    :raises ValueError: for two stores on one collection, since no label tells them apart.
    :raises ImportError: without the package ``prometheus_client``.
    """
    try:
        from prometheus_client import core
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise ImportError(
            "metrics.collector() needs prometheus_client: pip install 'jobstore[metrics]'"
        ) from error
    sources = Sources("metrics.collector()", stores)

    class StoreCollector(Collector):
        """Reads the stores when Prometheus scrapes."""

        def collect(self) -> Iterator[core.Metric]:
            looks = dict(sources.looks())
            for kind, metrics in (
                (core.CounterMetricFamily, COUNTERS),
                (core.GaugeMetricFamily, GAUGES),
            ):
                for metric in metrics:
                    family = kind(metric.name, metric.text, labels=[LABEL])
                    for name, look in looks.items():
                        if (value := metric.read(look)) is not None:
                            family.add_metric([name], float(value))
                    yield family
            for each in HISTOGRAMS:
                histogram = core.HistogramMetricFamily(each.name, each.text, labels=[LABEL])
                for name, look in looks.items():
                    counts, total = cumulative(each.read(look.counters))
                    histogram.add_metric([name], list(counts.items()), total)
                yield histogram

    return StoreCollector()


def instrument(*stores: Inspection, meter: "Meter | None" = None) -> None:
    """Make instruments of OpenTelemetry for the metrics of stores.

    They keep no store alive, and read them at each export. That takes some 5 ms for each store, and
    no command. OpenTelemetry has no observable histogram, so each histogram becomes three
    observable counters, whose names end with ``_bucket``, ``_sum`` and ``_count``. The attribute
    ``le`` has a bucket's bound, as in Prometheus.

    >>> jobstore.metrics.instrument(store)

    :param stores: as in `collector`.
    :param meter: makes the instruments; None for the meter ``jobstore`` of the global provider.
        Call this function once for each meter.
    :raises TypeError: as `collector`.
    :raises ValueError: as `collector`.
    :raises ImportError: without the package ``opentelemetry-api``.
    """
    try:
        from opentelemetry.metrics import Observation, get_meter
    except ImportError as error:
        raise ImportError(
            "metrics.instrument() needs OpenTelemetry: pip install opentelemetry-api"
        ) from error
    sources = Sources("metrics.instrument()", stores)
    meter = meter or get_meter("jobstore", __version__)

    def observe(
        values: Callable[[Look], Iterable[tuple[float | None, dict[str, str]]]],
    ) -> Any:
        def callback(options: "CallbackOptions") -> "Iterator[Observation]":
            for name, look in sources.looks():
                for value, labels in values(look):
                    if value is not None:
                        yield Observation(float(value), {LABEL: name, **labels})

        return [callback]

    def number(metric: Metric) -> Any:
        return observe(lambda look: [(metric.read(look), {})])

    for metric in COUNTERS:
        meter.create_observable_counter(metric.name, number(metric), metric.unit, metric.text)
    for metric in GAUGES:
        meter.create_observable_gauge(metric.name, number(metric), metric.unit, metric.text)
    for each in HISTOGRAMS:
        for end, unit, values in parts_of(each.read, each.unit):
            meter.create_observable_counter(f"{each.name}_{end}", observe(values), unit, each.text)


def parts_of(
    read: Callable[[Any], Histogram], unit: str
) -> "Iterator[tuple[str, str, Callable[[Look], Iterable[tuple[float, dict[str, str]]]]]]":
    """Yield the three counters of a histogram: the end of the name, the unit, and the values."""

    def buckets(look: Look) -> list[tuple[float, dict[str, str]]]:
        counts, _ = cumulative(read(look.counters))
        return [(count, {"le": bound}) for bound, count in counts.items()]

    yield "bucket", "1", buckets
    yield "sum", unit, lambda look: [(read(look.counters).sum, {})]
    yield "count", "1", lambda look: [(read(look.counters).count, {})]


def cumulative(histogram: Histogram) -> tuple[dict[str, int], float]:
    """Return the counts up to each bound, as Prometheus has them, and the sum of the values."""
    counts, total = list(histogram.counts), histogram.sum  # a cycle may change them meanwhile
    bounds = [*map(str, map(float, histogram.bounds)), "+Inf"]
    return dict(zip(bounds, accumulate(counts), strict=True)), total


class Sources:
    """The stores behind metrics, by the names of their collections; keeps none of them alive.

    :param call: the public call, for its errors.
    """

    def __init__(self, call: str, stores: tuple[Inspection, ...]) -> None:
        if not stores:
            raise TypeError(f"{call} needs one or more stores")
        self._stores: dict[str, weakref.ref[Inspection]] = {}
        for store in stores:
            if not isinstance(store, Inspection):
                raise TypeError(f"{call} needs a MongoDBJobStore, not a {type(store).__name__}")
            name = store.collection.full_name
            if name in self._stores:
                raise ValueError(
                    f"{call} got two stores on {name}: give each a registry or a meter of its own"
                )
            self._stores[name] = weakref.ref(store)

    def looks(self) -> Iterator[tuple[str, Look]]:
        """Yield the values of each store that lives."""
        for name, reference in self._stores.items():
            if store := reference():
                status = store.status()
                yield name, Look(status, store._counters, health_of(store, status).level)

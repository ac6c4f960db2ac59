"""The metrics of a store, as Prometheus scrapes them and as OpenTelemetry exports them."""

import gc
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from jobstore import MemoryJobStore, MongoDBJobStore
from jobstore.metrics import collector, instrument
from jobstore.mongodb.measures import COUNTERS, GAUGES, HISTOGRAMS
from support.jobs import note
from support.waiting import PATIENCE, until

JOBS = 25


@contextmanager
def served(*stores):
    """Serve the metrics of stores by HTTP; yields a function that scrapes and parses them."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector(*stores))
    del stores  # a test may drop them
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    address = f"http://127.0.0.1:{server.server_port}/metrics"

    def scrape():
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return {each.name: each for each in text_string_to_metric_families(text)}

    try:
        yield scrape
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def value(families, name, end="", **labels):
    """Return the one sample of a metric with these labels."""
    found = [
        each.value
        for each in families[name].samples
        if each.name == name + end and labels.items() <= each.labels.items()
    ]
    [only] = found
    return only


@pytest.fixture
def scheduler(store):
    scheduler = BackgroundScheduler({"apscheduler.timezone": "UTC"}, jobstores={"default": store})
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


@pytest.fixture
def fired(store, scheduler):
    """Return the store after its scheduler has fired some jobs and written that."""
    due = datetime.now(timezone.utc) - timedelta(seconds=2)
    for number in range(JOBS):
        scheduler.add_job(
            note, "interval", days=1, id=f"{number}", next_run_time=due, misfire_grace_time=None
        )
    until(lambda: store.status().fired == JOBS and store.status().pending == 0)
    until(lambda: store.status().expected > 0)  # the last cycle has ended
    return store


def test_prometheus_scrapes_the_runs_of_a_scheduler_over_http(fired):
    with served(fired) as scrape:
        families = scrape()
    status = fired.status()
    assert value(families, "jobstore_jobs_fired", "_total") == JOBS
    assert value(families, "jobstore_lateness_seconds", "_count") == JOBS
    assert value(families, "jobstore_lateness_seconds", "_sum") > 2 * JOBS
    assert value(families, "jobstore_lateness_seconds", "_bucket", le="1.0") == 0
    assert value(families, "jobstore_lateness_seconds", "_bucket", le="3600.0") == JOBS
    assert value(families, "jobstore_batch_jobs", "_sum") == JOBS
    assert value(families, "jobstore_cycle_seconds", "_count") > 0
    assert value(families, "jobstore_flush_seconds", "_count") > 0
    assert value(families, "jobstore_firing") == status.firing
    assert value(families, "jobstore_connected") == 1
    assert value(families, "jobstore_since_cycle_seconds") >= 0
    assert value(families, "jobstore_cycle_late_seconds") == 0


def test_a_scrape_has_each_metric_with_its_type_its_text_and_one_label(store):
    with served(store) as scrape:
        families = scrape()
    kinds = {"counter": COUNTERS, "gauge": GAUGES, "histogram": HISTOGRAMS}
    expected = {each.name: (kind, each.text) for kind, all_ in kinds.items() for each in all_}
    assert {name: (each.type, each.documentation) for name, each in families.items()} == expected
    labels = {label for each in families.values() for one in each.samples for label in one.labels}
    assert labels == {"collection", "le"}
    names = {one.labels["collection"] for each in families.values() for one in each.samples}
    assert names == {store.collection.full_name}


def test_names_follow_the_conventions_of_prometheus():
    for each in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        assert each.name.startswith("jobstore_")
        assert not each.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert each.name.endswith("_seconds") == (each.unit == "s"), each.name
        assert each.text.endswith(".")


def test_the_buckets_of_a_histogram_are_cumulative_and_its_last_one_counts_all(store):
    now = 1e9
    store._counters.handed_out(now, [now - 4000, now - 2, now - 0.3, now - 0.001])
    with served(store) as scrape:
        families = scrape()
    samples = [
        (float(each.labels["le"]), each.value)
        for each in families["jobstore_lateness_seconds"].samples
        if each.name.endswith("_bucket")
    ]
    assert samples == sorted(samples)
    counts = dict(samples)
    assert [counts[bound] for bound in (0.005, 0.25, 0.5, 2.5, 3600, float("inf"))] == [
        *(1, 1, 2, 3, 3, 4)
    ]
    assert value(families, "jobstore_lateness_seconds", "_sum") == pytest.approx(4002.301)


def test_values_that_are_not_known_yet_are_left_out(store):
    with served(store) as scrape:
        families = scrape()
    unknown = {name for name, each in families.items() if not each.samples and each.type == "gauge"}
    assert unknown == {
        "jobstore_since_cycle_seconds",
        "jobstore_overdue_jobs",
        "jobstore_oldest_overdue_seconds",
        "jobstore_quarantined_jobs",
        "jobstore_lag_seconds",
        "jobstore_missing_indexes",
    }


def test_a_store_without_a_running_scheduler_is_down_in_the_metrics(store, fired):
    with served(fired) as scrape:
        assert value(scrape(), "jobstore_health_level") < 2
        fired._scheduler.shutdown()
        assert value(scrape(), "jobstore_health_level") == 2
        assert value(scrape(), "jobstore_jobs_fired", "_total") == JOBS
        fired._scheduler.start()  # which the fixture shuts down


def test_a_scrape_sends_no_command(store, commands):
    with served(store) as scrape:
        scrape()
    assert commands.names == []


def test_one_collector_tells_stores_apart_by_their_collections(server, database, session_client):
    first, second = (
        MongoDBJobStore(database.name, name, client=session_client) for name in ("a", "b")
    )
    second._counters.handed_out(5.0, [1.0, 2.0])
    with served(first, second) as scrape:
        families = scrape()
    name = database.name
    assert value(families, "jobstore_jobs_fired", "_total", collection=f"{name}.a") == 0
    assert value(families, "jobstore_jobs_fired", "_total", collection=f"{name}.b") == 2


def test_a_collector_keeps_no_store_alive(database, session_client):
    store = MongoDBJobStore(database.name, client=session_client)
    with served(store) as scrape:
        assert value(scrape(), "jobstore_jobs_fired", "_total") == 0
        del store
        gc.collect()
        assert [each.samples for each in scrape().values() if each.samples] == []


@pytest.mark.parametrize("make", [collector, instrument])
def test_stores_that_have_no_metrics_are_refused(make, store, database, session_client):
    with pytest.raises(TypeError, match="needs a MongoDBJobStore, not a MemoryJobStore"):
        make(MemoryJobStore())
    with pytest.raises(TypeError, match="needs one or more stores"):
        make()
    twin = MongoDBJobStore(database.name, client=session_client)
    with pytest.raises(ValueError, match=f"two stores on {database.name}.jobs: give each"):
        make(store, twin)


@pytest.mark.parametrize(
    ("package", "call", "advice"),
    [
        ("prometheus_client", "collector", "pip install 'jobstore[metrics]'"),
        ("opentelemetry", "instrument", "pip install opentelemetry-api"),
    ],
)
def test_a_missing_package_is_an_error_that_says_how_to_install_it(package, call, advice):
    code = f"import sys; sys.modules['{package}'] = None; import jobstore.metrics as metrics\n"
    code += f"try: metrics.{call}(None)\nexcept ImportError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert advice in done.stdout, done.stderr


def exported(reader):
    """Return the values that OpenTelemetry exports, by name and attributes."""
    return {
        (metric.name, *sorted(point.attributes.items())): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_opentelemetry_exports_the_same_values_as_prometheus(fired):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(fired, meter=provider.get_meter("test"))
    fired._scheduler.pause()  # no cycle between the two looks
    until(lambda: fired.status().expected is not None)
    with served(fired) as scrape:
        families = scrape()
    values = exported(reader)
    provider.shutdown()
    changing = {"jobstore_since_cycle_seconds", "jobstore_lag_seconds"}
    compared = 0
    for family in families.values():
        for sample in family.samples:
            if family.name in changing:
                continue
            key = (sample.name.removesuffix("_total"), *sorted(sample.labels.items()))
            assert values[key] == sample.value, key
            compared += 1
    assert compared > len(COUNTERS) + len(GAUGES) - len(changing)
    assert {name for name, *_ in values} >= changing - {"jobstore_lag_seconds"}


def test_instruments_have_units_and_counters_that_only_grow(fired):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(fired, meter=provider.get_meter("test"))
    [resource] = reader.get_metrics_data().resource_metrics
    [scope] = resource.scope_metrics
    provider.shutdown()
    found = {metric.name: metric for metric in scope.metrics}
    assert found["jobstore_lateness_seconds_sum"].unit == "s"
    assert found["jobstore_jobs_fired"].unit == "{job}"
    # Prometheus appends "ratio" to the name of a gauge with the unit "1".
    assert [each.name for each in GAUGES if each.unit == "1"] == []
    for each in COUNTERS:
        assert found[each.name].data.is_monotonic
        assert found[each.name].description == each.text


def test_instruments_keep_no_store_alive(database, session_client):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    store = MongoDBJobStore(database.name, client=session_client)
    instrument(store, meter=provider.get_meter("test"))
    assert exported(reader)
    del store
    gc.collect()
    assert reader.get_metrics_data() is None
    provider.shutdown()

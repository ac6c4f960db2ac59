"""The dashboard in `examples/` shows exactly the metrics that there are."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobstore.metrics import collector

DASHBOARD = json.loads((Path(__file__).parent.parent / "examples" / "grafana.json").read_text())
PANELS = DASHBOARD["panels"]
WIDTH = 24  # of Grafana's grid
TARGETS = [(panel["title"], each["expr"]) for panel in PANELS for each in panel["targets"]]


def names_in(text):
    """Return the metrics that a query names, with the ends of their samples."""
    return set(re.findall(r"\bjobstore_\w+", text))


@pytest.fixture
def samples(store):
    """Return the names of all samples of the metrics, by metric."""
    store._counters.handed_out(2.0, [1.0])
    registry = CollectorRegistry()
    registry.register(collector(store))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {each.name: {each.name + end for end in ends[each.type]} for each in families}


def test_each_query_names_samples_that_exist(samples):
    known = set().union(*samples.values())
    for title, query in TARGETS:
        assert names_in(query), title
        assert names_in(query) <= known, title
    variables = json.dumps(DASHBOARD["templating"])
    assert names_in(variables) <= known


def test_each_metric_is_shown(samples):
    shown = set().union(*(names_in(query) for _, query in TARGETS))
    assert [name for name, of in samples.items() if not of & shown] == []


def test_counters_are_shown_as_rates_and_histograms_as_quantiles():
    for title, query in TARGETS:
        if "_total" in query:
            assert "rate(" in query or "increase(" in query, title
        if "_bucket" in query:
            assert query.startswith("histogram_quantile("), title
            assert "by (collection, le)" in query, title


def test_each_query_has_balanced_brackets_and_the_variable_of_the_collection():
    for title, query in TARGETS:
        for opening, closing in ("()", "[]", "{}"):
            assert query.count(opening) == query.count(closing), title
        assert query.count('{collection=~"$collection"}') == len(re.findall("jobstore_", query))


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < WIDTH


def test_times_are_shown_in_seconds():
    for panel in PANELS:
        queries = " ".join(each["expr"] for each in panel["targets"])
        assert (panel["fieldConfig"]["defaults"]["unit"] == "s") == ("_seconds" in queries)

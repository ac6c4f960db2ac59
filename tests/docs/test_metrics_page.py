"""The page of the metrics has each metric, in its section, with its text; and real queries."""

import re

from jobstore.mongodb.counters import Counters
from jobstore.mongodb.health.findings import NAMES
from jobstore.mongodb.measures import COUNTERS, GAUGES, HISTOGRAMS
from support.pages import DOCS

PAGE = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
GUIDE = (DOCS / "how-to" / "monitor.md").read_text(encoding="utf-8")
SAMPLES = {
    *(f"{each.name}_total" for each in COUNTERS),
    *(each.name for each in GAUGES),
    *(f"{each.name}{end}" for each in HISTOGRAMS for end in ("_bucket", "_sum", "_count")),
}


def rows(title):
    """Return the rows of the table in a section, without its head."""
    section = re.search(rf"^## {title}\b.*?$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_counter_and_each_gauge_has_its_row():
    assert rows("Counters") == [[f"`{each.name}_total`", each.text] for each in COUNTERS]
    assert rows("Gauges") == [[f"`{each.name}`", each.text] for each in GAUGES]


def test_each_histogram_has_its_row_with_its_bounds():
    expected = []
    for each in HISTOGRAMS:
        bounds = each.read(Counters()).bounds
        expected.append([f"`{each.name}`", f"{bounds[0]:g} to {bounds[-1]:g}", each.text])
    assert rows("Histograms") == expected


def test_queries_and_alerts_name_samples_that_exist():
    of_opentelemetry = {f"{name}_total" for name in SAMPLES if name.endswith("_bucket")}
    queries = PAGE.partition("## Queries")[2]
    named = set(re.findall(r"\bjobstore_\w+", queries + GUIDE))
    assert named - SAMPLES - of_opentelemetry == set()
    assert len(named) > 5


def test_each_finding_has_its_row_in_the_guide():
    table = GUIDE.partition("## The findings")[2]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(NAMES)

"""Each rule of health, at and around its threshold, from statuses made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobstore.mongodb import Status
from jobstore.mongodb.health.finding import LEVELS
from jobstore.mongodb.health.findings import NAMES, findings, worst

WELL = Status(
    connected=True,
    pending=0,
    oldest=None,
    lag=0.2,
    missing_indexes=(),
    since_cycle=0.5,
    cycle=0.01,
    expected=1.0,
    overdue=0,
    quarantined=0,
)


def found(name, runs=True, **changes):
    """Return the finding of that name about a status that is well but for some changes."""
    [finding] = [each for each in findings(WELL._replace(**changes), runs) if each.name == name]
    return finding


def test_a_store_that_is_well_has_one_finding_of_each_name_and_no_advice():
    names = [each.name for each in findings(WELL)]
    assert names == list(NAMES)
    assert {(each.level, each.advice) for each in findings(WELL)} == {("well", "")}


@pytest.mark.parametrize(
    ("name", "changes", "level"),
    [
        ("cycle", {"expected": -5.0}, "well"),
        ("cycle", {"expected": -6.0}, "degraded"),
        ("cycle", {"expected": -30.0}, "degraded"),
        ("cycle", {"expected": -31.0}, "down"),
        ("cycle", {"expected": -31.0, "firing": False}, "degraded"),
        ("cycle", {"expected": None}, "well"),
        ("cycle", {"cycle": 10.0}, "well"),
        ("cycle", {"cycle": 10.1}, "degraded"),
        ("cycle", {"cycle": None, "since_cycle": None}, "well"),
        ("cycle", {"failing": 0.0}, "degraded"),
        ("cycle", {"failing": 30.1}, "down"),
        ("cycle", {"paused": True}, "down"),
        ("connection", {"connected": False}, "degraded"),
        ("overdue", {"overdue": 3, "oldest_overdue": 30.0}, "well"),
        ("overdue", {"overdue": 3, "oldest_overdue": 30.1}, "degraded"),
        ("overdue", {"overdue": None}, "well"),
        ("others", {"others": ("b:2",)}, "degraded"),
        ("standby", {"firing": False}, "well"),
        ("flush", {"flush_failures_in_a_row": 1}, "degraded"),
        ("flush", {"flush_failures": 9}, "well"),
        ("flush", {"pending": 1, "oldest": 30.0}, "well"),
        ("flush", {"pending": 1, "oldest": 30.1}, "degraded"),
        ("mirror", {"lag": 30.0}, "well"),
        ("mirror", {"lag": 30.1}, "degraded"),
        ("mirror", {"lag": None}, "well"),
        ("mirror", {"lag": 75.0, "poll": 45.0}, "well"),
        ("mirror", {"lag": 75.1, "poll": 45.0}, "degraded"),
        ("others", {"others": None}, "well"),
        ("indexes", {"missing_indexes": None}, "well"),
        ("quarantine", {"quarantined": 1}, "degraded"),
        ("quarantine", {"quarantined": None}, "well"),
        ("indexes", {"missing_indexes": ("next_run_time",)}, "degraded"),
        ("pool", {"needed_pool": 7}, "degraded"),
        ("doubles", {"doubles": 2, "since_double": 600.0}, "degraded"),
        ("doubles", {"doubles": 2, "since_double": 600.1}, "well"),
        ("leases", {"leases_lost": 2, "since_lease_lost": 600.0}, "degraded"),
        ("leases", {"leases_lost": 2, "since_lease_lost": 600.1}, "well"),
        ("history", {"dropped": 1, "since_dropped": 600.0}, "degraded"),
        ("history", {"dropped": 1, "since_dropped": 600.1}, "well"),
    ],
)
def test_a_rule_judges_its_values_alone(name, changes, level):
    finding = found(name, **changes)
    assert finding.level == level
    assert bool(finding.advice) == (level != "well")
    rest = [each for each in findings(WELL._replace(**changes)) if each.name != name]
    assert {each.level for each in rest} == {"well"}


def test_each_rule_has_a_status_that_it_does_not_call_well():
    rules = test_a_rule_judges_its_values_alone.pytestmark[0].args[1]
    assert {name for name, _, level in rules if level != "well"} == set(NAMES) - {"standby"}


@pytest.mark.parametrize(
    ("name", "changes", "texts"),
    [
        ("cycle", {"expected": -42.0}, ["42 s"]),
        ("overdue", {"overdue": 10_000, "oldest_overdue": 77.0}, ["10,000 jobs", "77 s"]),
        ("others", {"others": ("a:1", "b:2")}, ["a:1, b:2", "twice"]),
        ("standby", {"firing": False}, ["standby"]),
        ("flush", {"pending": 5, "oldest": 4.0, "flush_failures_in_a_row": 3}, ["5", "4 s", "3"]),
        ("indexes", {"missing_indexes": ("quarantine.since",)}, ["quarantine.since"]),
        ("doubles", {"doubles": 12, "since_double": 3.0}, ["12", "3 s"]),
        ("leases", {"leases_lost": 8, "since_lease_lost": 4.0}, ["8", "4 s"]),
        ("history", {"dropped": 31, "since_dropped": 5.0}, ["31", "5 s"]),
    ],
)
def test_a_finding_names_its_values(name, changes, texts):
    text = found(name, **changes).text
    assert [each for each in texts if each not in text] == []


def test_the_advice_for_a_small_pool_names_the_size_that_it_needs():
    assert "maxPoolSize=7" in found("pool", needed_pool=7).advice


def test_a_store_without_a_running_scheduler_is_down_whatever_its_status_says():
    finding = found("cycle", runs=False)
    assert (finding.level, "no scheduler" in finding.text) == ("down", True)


def test_the_worst_level_is_that_of_the_worst_finding():
    assert worst([]) == "well"
    found = findings(WELL._replace(expected=-31.0, quarantined=1))
    assert worst(found) == "down"
    assert worst(found[1:]) == "degraded"
    assert LEVELS == ("well", "degraded", "down")


VALUES = st.none() | st.floats() | st.integers()
NUMBERS = ("oldest", "lag", "since_cycle", "cycle", "expected", "overdue", "oldest_overdue")
NUMBERS += (
    "failing",
    "poll",
    "quarantined",
    "since_double",
    "since_lease_lost",
    "since_dropped",
    "needed_pool",
)


@given(st.fixed_dictionaries(dict.fromkeys(NUMBERS, VALUES)), st.booleans(), st.booleans())
def test_any_numbers_have_findings(numbers, firing, runs):
    """A scheduler's presence may have been written by anybody."""
    found = findings(WELL._replace(**numbers, firing=firing), runs)
    assert [each.name for each in found] == list(NAMES)

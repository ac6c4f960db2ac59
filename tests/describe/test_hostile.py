"""Hostile pickles run nothing, import nothing, and cost bounded time and memory."""

import json

import pytest

from support.hostile_places import GROUPS
from support.programs import output

HUGE = pytest.param("huge", marks=pytest.mark.slow)


@pytest.mark.parametrize("group", [*GROUPS, "triggers", HUGE, "huge elsewhere"])
def test_hostile_states_are_described_and_run_nothing(group):
    *faults, number = map(json.loads, output("describe_hostile", group).splitlines())
    assert faults == []
    assert number > 10

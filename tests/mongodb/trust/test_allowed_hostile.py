"""Hostile pickles run and import nothing that isn't allowed."""

import json

import pytest

from support.programs import output


@pytest.mark.parametrize(
    "group", ["calls", "data", "names", "stack", "lengths", "texts", "triggers"]
)
def test_hostile_states_run_nothing_that_is_not_allowed(group):
    *faults, number = map(json.loads, output("load_hostile", group).splitlines())
    assert faults == []
    assert number > 10

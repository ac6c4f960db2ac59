"""Nobody who writes to the collection runs code in a scheduler that has keys, or a list of names.

The attacks and their witnesses are in `tests/support/attacks/`.
"""

import json

import pytest

from support.every_store import MODES
from support.programs import output

# Pickle itself refuses the first two. The last one takes a class from a module that may be named.
HARMLESS = ["persistent id", "persistent id of a value", "function that is a class"]


@pytest.mark.parametrize("mode", MODES)
def test_attacks_run_nothing_and_good_jobs_go_on(server, database, tmp_path, mode):
    options = json.dumps(MODES[mode])
    printed = output("resist_attacks", server.uri, database.name, str(tmp_path), options)
    *faults, counts = map(json.loads, printed.splitlines())
    assert faults == []
    assert min(counts) > 300
    assert list(tmp_path.iterdir()) == []


def test_attacks_succeed_where_states_are_unpickled_and_are_seen(tmp_path):
    *unseen, count = map(json.loads, output("run_attacks", str(tmp_path)).splitlines())
    assert unseen == HARMLESS
    assert count > 40
    assert list(tmp_path.iterdir()) != []

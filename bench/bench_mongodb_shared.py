"""Many schedulers on one collection, against the bare commands and against fewer schedulers."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from measure import Variant
from mongodb_variants import Counter as CommandCounter
from mongodb_variants import CycleVariant, median
from pymongo import MongoClient
from shared_variants import BareCommands, make_due, shared

from jobstore.testing import Server

TABLE = "MongoDB, many schedulers on one collection"
CHILD = Path(__file__).with_name("shared_scheduler_child.py")
DUE = 1_000
MANY = 40_000


@pytest.mark.check
def test_one_scheduler_against_bare_commands(measure: Any, report: Any, client: Any) -> None:
    variant = CycleVariant(shared(client, "shared"), DUE)

    def before() -> None:  # the same as for the bare commands
        make_due(variant.store.collection, DUE)
        variant.seconds = 0.0

    ours = Variant(variant.cycle, DUE, before=before, after=variant.check)
    _, bare = measure(ours, BareCommands(client, DUE).variant(), rounds=31)
    values = {"ours": median(variant.in_store[1:]) / DUE * 1e6, "bare": bare}
    row = "one scheduler, 1,000 due; bare: raw claim, guarded flush"
    report(TABLE, row, values, "ours / bare", target=1.3, at_most=True)


class Schedulers:
    """`count` processes with one scheduler each. A round ends when no job is due any more."""

    def __init__(self, server: Server, collection: Any, count: int) -> None:
        self.collection = collection
        command = [sys.executable, CHILD, server.uri, collection.name]
        self.children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        self.counts: Counter[str] = Counter()

    def go(self) -> None:
        for child in self.children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in self.children:
            assert child.stdout
            self.counts.update(json.loads(child.stdout.readline()))

    def before(self) -> None:
        make_due(self.collection, MANY)
        self.counts.clear()

    def check(self) -> None:
        """Assert that the schedulers ran each job once."""
        assert self.counts["jobs"] == MANY
        assert not self.collection.count_documents({"next_run_time": {"$lte": time.time()}})

    def close(self) -> None:
        for child in self.children:
            child.communicate()


@pytest.mark.parametrize(
    ("fewer", "more", "target"),
    [(1, 2, 1.6), (2, 4, 0.9), pytest.param(4, 8, None, marks=pytest.mark.full)],
)
def test_more_schedulers(
    measure: Any, report: Any, server: Server, client: Any, fewer: int, more: int, target: float
) -> None:
    groups = [
        Schedulers(server, client["bench"][f"shared by {count}"], count) for count in (fewer, more)
    ]
    variants = [Variant(each.go, MANY, before=each.before, after=each.check) for each in groups]
    times = measure(*variants, rounds=11)
    for group in groups:
        group.close()
        print(f"{len(group.children)} schedulers, last round: {dict(group.counts)}")
    values = {f"{fewer}": times[0], f"{more}": times[1]}
    row = f"40,000 due, {fewer} schedulers and {more}"
    report(TABLE, row, values, f"{fewer} / {more}", target=target)


@pytest.mark.check
def test_commands(benchmark: Any, report: Any, server: Server, client: Any) -> None:
    counter = CommandCounter()
    with MongoClient[dict[str, Any]](server.uri, event_listeners=[counter]) as counted:
        variant = CycleVariant(shared(counted, "counted"), DUE)
        variant.make_due()
        counter.count = 0
        variant.cycle()
    benchmark.pedantic(lambda: None)
    row = "a cycle, 1,000 due"
    values = {"ours": counter.count}
    report(f"{TABLE}: commands", row, values, "ours", target=6, at_most=True, unit="commands")

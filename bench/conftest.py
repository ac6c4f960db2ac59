"""Comparisons: all sides in alternating rounds, ratios of their medians as the result.

pytest-benchmark runs all rounds of one side before the next one's, so that a machine that
drifts decides; here one benchmark holds all sides, and each round turns their order around.
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns
from typing import Any

import pytest
from pymongo import MongoClient
from results import Row, compare, load_last, missed, save, table_lines

from jobstore.testing import Server, mongod

Action = Callable[[], Any]


@dataclass
class Side:
    """One side of a comparison; only `timed` is measured."""

    timed: Action
    operations: int
    before: Action = lambda: None
    after: Action = lambda: None
    repeat: int = 1  # how often it runs in one round
    times: list[float] = field(default_factory=list)

    def run(self) -> None:
        for _ in range(self.repeat):
            self.before()
            start = perf_counter_ns()
            result = self.timed()
            self.times.append((perf_counter_ns() - start) / 1000 / self.operations)
            del result
            self.after()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with mongod() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](server.uri) as client:
        yield client
        for name in client.list_database_names():
            if name.startswith("bench"):
                client.drop_database(name)


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., list[float]]:
    """Run the sides in alternating rounds; return the median of each, in µs an operation."""

    def run(*sides: Side, rounds: int, prepare: Action = lambda: None) -> list[float]:
        order = list(sides)

        def one_round() -> None:
            prepare()
            for side in order:
                side.run()
            order.reverse()

        one_round()
        for side in sides:
            side.times.clear()
        gc.collect()
        gc.disable()
        try:
            benchmark.pedantic(one_round, rounds=rounds)
        finally:
            gc.enable()
        benchmark.extra_info["rounds"] = rounds
        return [median(side.times) for side in sides]

    return run


@pytest.fixture
def report(benchmark: Any) -> Callable[..., None]:
    """Keep one row of a table: what each side took, and the ratio of two of them.

    `bar` is what the ratio is to be at least, or at most where `at_most`.
    """

    def keep(table: str, row: str, values: dict[str, float], ratio: str, **more: Any) -> None:
        benchmark.extra_info["row"] = Row(table, row, values, ratio, **more)

    return keep


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--save", action="store_true", help="keep the results in bench/results/")
    parser.addoption(
        "--check", action="store_true", help="compare with the last results; fail at a missed bar"
    )


def rows_of(config: Any) -> list[Row]:
    infos = [result.extra_info for result in config._benchmarksession.benchmarks]
    return [info["row"] for info in infos if "row" in info]


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print every table; a missed bar is marked."""
    rows = rows_of(config)
    for table in dict.fromkeys(row.table for row in rows):
        terminalreporter.section(table)
        for line in table_lines([row for row in rows if row.table == table]):
            terminalreporter.write_line(line)
    if config.option.check:
        terminalreporter.section("Check")
        for line in compare(rows, load_last()):
            terminalreporter.write_line(line)
    if config.option.save and rows:
        terminalreporter.write_line(f"kept in {save(rows)}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: Any) -> None:
    """With --check a missed bar fails the run."""
    if session.config.option.check and any(map(missed, rows_of(session.config))):
        session.exitstatus = 1

"""Fixtures and options of the benchmarks: comparisons in, tables of ratios out."""

from collections.abc import Callable, Iterator
from sysconfig import get_config_var
from typing import Any

import pytest
from measure import Action, Variant, measure_rounds
from pymongo import MongoClient
from results import Row, compare, load_last, missed, save, table_lines

from jobstore.testing import Server, mongod

collect_ignore = [] if get_config_var("Py_GIL_DISABLED") else ["bench_threads.py"]


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
    """Run the variants in alternating rounds; return each one's median, in µs an operation."""

    def run(*variants: Variant, rounds: int, prepare: Action = lambda: None) -> list[float]:
        return measure_rounds(benchmark, variants, rounds, prepare)

    return run


@pytest.fixture
def report(benchmark: Any) -> Callable[..., None]:
    """Keep one row of a table: each variant's value, and the ratio of two of them.

    The ratio misses its `target` if it is lower; with `at_most`, if it is higher.
    """

    def keep(table: str, row: str, values: dict[str, float], ratio: str, **more: Any) -> None:
        benchmark.extra_info["row"] = Row(table, row, values, ratio, **more)

    return keep


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--save", action="store_true", help="keep the results in bench/results/")
    parser.addoption(
        "--check",
        action="store_true",
        help="compare with the last results; fail at a missed target",
    )


def rows_of(config: Any) -> list[Row]:
    infos = [result.extra_info for result in config._benchmarksession.benchmarks]
    return [info["row"] for info in infos if "row" in info]


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print every table, with a mark at each missed target."""
    rows = rows_of(config)
    for name in collect_ignore:
        terminalreporter.write_line(f"{name} did not run: it needs a free-threaded CPython")
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
    """With --check, fail the run if any target is missed."""
    if session.config.option.check and any(map(missed, rows_of(session.config))):
        session.exitstatus = 1

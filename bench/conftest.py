"""Comparisons: all sides in alternating rounds, ratios of their medians as the result.

pytest-benchmark runs all rounds of one side before the next one's, so that a machine that
drifts decides; here one benchmark holds all sides, and each round turns their order around.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns
from typing import Any

import pytest

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
    """Keep one row of a table for the summary.

    `ratio` is to be at least `bar`, or at most `bar` where `at_most`.
    """

    def keep(
        table: str,
        row: str,
        ours: float,
        rival: float,
        ratio: float,
        bar: float | None = None,
        at_most: bool = False,
        unit: str = "µs",
    ) -> None:
        benchmark.extra_info.update(
            table=table,
            row=row,
            ours=ours,
            rival=rival,
            ratio=ratio,
            bar=bar,
            at_most=at_most,
            unit=unit,
        )

    return keep


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print every table; a missed bar is marked, and is no error."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for result in config._benchmarksession.benchmarks:
        info = result.extra_info
        if "table" in info:
            tables.setdefault(info["table"], []).append(info)
    for table, rows in tables.items():
        terminalreporter.section(table)
        terminalreporter.write_line(
            f"{rows[0]['unit']:>46} {'ours':>12} {'rival':>12} {'ratio':>8} {'bar':>8}"
        )
        for info in rows:
            bar, ratio, at_most = info["bar"], info["ratio"], info["at_most"]
            missed = bar is not None and (ratio > bar if at_most else ratio < bar)
            sign = "" if bar is None else f"{'≤' if at_most else '≥'} {bar:g}"
            terminalreporter.write_line(
                f"{info['row']:46} {info['ours']:12.4f} {info['rival']:12.4f} "
                f"{ratio:8.2f} {sign:>8}{'  missed' if missed else ''}"
            )

"""Variants of a comparison, timed in alternating rounds.

pytest-benchmark finishes all rounds of one variant before it starts the next variant, so a
machine that slows down meanwhile favours the first. Here, one benchmark holds all variants, and
each round reverses their order.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns
from typing import Any

__all__ = ["Action", "Variant", "measure_rounds"]

Action = Callable[[], Any]


@dataclass
class Variant:
    """One variant in a comparison. The clock runs only during `timed`.

    :ivar repeat: how often the variant runs in one round.
    """

    timed: Action
    operations: int
    before: Action = lambda: None
    after: Action = lambda: None
    repeat: int = 1
    times: list[float] = field(default_factory=list)

    def run(self) -> None:
        for _ in range(self.repeat):
            self.before()
            start = perf_counter_ns()
            result = self.timed()
            self.times.append((perf_counter_ns() - start) / 1000 / self.operations)
            del result
            self.after()


def measure_rounds(
    benchmark: Any, variants: Sequence[Variant], rounds: int, prepare: Action
) -> list[float]:
    """Run the variants in alternating rounds; return each one's median, in µs an operation."""
    order = list(variants)

    def one_round() -> None:
        prepare()
        for variant in order:
            variant.run()
        order.reverse()

    one_round()
    for variant in variants:
        variant.times.clear()
    gc.collect()
    gc.disable()
    try:
        benchmark.pedantic(one_round, rounds=rounds)
    finally:
        gc.enable()
    benchmark.extra_info["rounds"] = rounds
    return [median(variant.times) for variant in variants]

"""Splits the time of a queried store's cycle into its parts."""

import time
from typing import Any

from measure import Variant
from mongodb_variants import CycleVariant, median

from jobstore.mongodb.codec import Codec
from jobstore.mongodb.restored import Restored, RestoredJobs
from jobstore.mongodb.writes import flush

__all__ = ["PARTS", "parts_of_a_cycle"]

PARTS = "MongoDB: what a cycle of 1,000 due is made of"


def parts_of_a_cycle(measure: Any, variant: CycleVariant, monkeypatch: Any) -> dict[str, float]:
    """Return the µs a job of each part, and of the whole cycle.

    "pickle" is the time to make the new state, from the old one or with `pickle`.
    """
    reader = variant.store._reader
    timed_methods = {
        "find": [(reader, "due")],
        "restore": [(RestoredJobs, "restore_all")],
        "pickle": [(Restored, "advanced_state"), (Codec, "dump")],
        "write": [(flush, "send")],
        "next run time": [(reader, "next_run_time")],
    }
    parts = dict.fromkeys(timed_methods, 0.0)

    def timed(part: str, where: Any, name: str) -> None:
        method = getattr(where, name)

        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                parts[part] += time.perf_counter() - start

        monkeypatch.setattr(where, name, run)

    for part, methods in timed_methods.items():
        for where, name in methods:
            timed(part, where, name)
    rounds: list[dict[str, float]] = []

    def keep() -> None:
        variant.check()
        rest = {"rest of the store": variant.seconds - sum(parts.values())}
        times = {**parts, **rest}
        rounds.append({name: value * 1e6 / variant.due for name, value in times.items()})
        parts.update(dict.fromkeys(parts, 0.0))

    (whole,) = measure(
        Variant(variant.cycle, variant.due, before=variant.make_due, after=keep), rounds=21
    )
    values = {name: median([each[name] for each in rounds[1:]]) for name in rounds[0]}
    values["scheduler"] = whole - sum(values.values())
    return {**values, "whole": whole}

"""Schedulers that share, when the server's clock is set while jobs are leased."""

from support.jobs import YEARS, at, job, run_times
from support.shared_stores import logged_to_run_twice, run, run_all_due


def test_lease_that_ends_early_by_the_servers_clock_repeats_runs_and_overwrites_nothing(
    make, clock, caplog
):
    """The scheduler fires the rest of its cycle. The log lacks only the job that has ended."""
    first, second = make(), make()
    first.add_jobs([job("a", every=None), job("b", 1), job("c", 2)])
    others = []

    def set_forward(each):
        if each.id == "b":
            clock.set_server_forward(11)
            others.extend(run_all_due(second))

    assert run(first, set_forward)[0] == ["a", "b", "c"]
    assert others == ["a", "b", "c"]
    assert logged_to_run_twice(caplog) == ["b", "c"]
    assert run_times(first) == {name: at(n + YEARS).timestamp() for n, name in [(1, "b"), (2, "c")]}

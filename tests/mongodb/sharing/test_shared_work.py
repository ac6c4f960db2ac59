"""Processes that share a backlog take no more of it than they have room for."""

from collections import Counter

from support.waiting import until

PROCESSES, WORKERS = 4, 10


def runs_by_process(runs):
    """Return how many of these runs each process had."""
    return list(Counter(pid for _, pid in runs).values())


def test_each_process_claims_only_the_jobs_for_which_it_has_room(one_offs):
    """While all jobs wait, four processes hold twice their workers, and the rest is free."""
    every = one_offs.add(500)
    gate = one_offs.file.with_name("gate")
    for _ in range(PROCESSES):
        one_offs.start("shared", in_flight="auto", gate=str(gate))
    until(lambda: sorted(runs_by_process(one_offs.begun())) == PROCESSES * [WORKERS])
    taken = PROCESSES * 2 * WORKERS
    until(lambda: len(one_offs.stored()) == len(every) - taken)
    gate.touch()
    until(lambda: len(one_offs.ended()) >= len(every))
    assert sorted(job_id for job_id, _ in one_offs.begun()) == sorted(every)
    until(lambda: not one_offs.stored())  # the last cycle writes after its jobs


def test_all_processes_work_until_the_end_of_a_backlog(one_offs):
    count = 2_000
    every = one_offs.add(count)
    for _ in range(PROCESSES):
        one_offs.start("shared", in_flight=2 * WORKERS)
    until(lambda: len(one_offs.ended()) >= count)
    until(lambda: not one_offs.stored())
    runs = one_offs.begun()
    assert sorted(job_id for job_id, _ in runs) == sorted(every), "each job ran once"
    in_last_half = runs_by_process(runs[count // 2 :])
    assert len(in_last_half) == PROCESSES
    assert min(in_last_half) > 2 * WORKERS, "each took more jobs meanwhile"

"""Counts the instructions of the index's hot calls by callgrind, a measure without noise.

Usage: python bench/instructions.py             measure all calls and keep the results
       python bench/instructions.py CALL COUNT  (in callgrind) make COUNT calls
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

JOBS, COUNT = 10_000, 4_000


def work(call: str, count: int) -> None:
    from datetime import timezone

    from variants import Jobs

    from jobstore._index_c import JobIndex

    maker = Jobs(timezone.utc)
    jobs = maker.make(JOBS)
    index = JobIndex()
    index.add_many(jobs)
    ids = [job.id for job in random.Random(2).sample(jobs, COUNT)]
    chosen = [index.get(job_id) for job_id in ids]
    moment = index.all()[99].next_run_time
    if call == "add":
        index.remove_many(ids)
    for job in chosen:
        job.next_run_time = maker.time()
    loops = {
        "add": lambda: [index.add(job) for job in chosen[:count]],
        "replace": lambda: [index.replace(job) for job in chosen[:count]],
        "remove": lambda: [index.remove(job_id) for job_id in ids[:count]],
        "get": lambda: [index.get(job_id) for job_id in ids[:count]],
        "due (100 jobs)": lambda: [index.due(moment) for _ in ids[:count]],
    }
    loops[call]()


def instructions(call: str, count: int) -> int:
    """Count the instructions of a whole Python process that makes `count` calls."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out")
        subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"),
                *(sys.executable, __file__, call, str(count)),
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        found = re.search(r"^summary: (\d+)", output.read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def main() -> None:
    from results import Row, save, table_lines

    if not shutil.which("valgrind"):
        print("valgrind is not installed: instructions are not counted", file=sys.stderr)
        return
    rows = []
    for call in ("add", "replace", "remove", "get", "due (100 jobs)"):
        each = (instructions(call, COUNT) - instructions(call, 0)) / COUNT
        table = f"Instructions a call of the compiled index, of {JOBS:,} jobs, the loop included"
        rows.append(Row(table, call, {"ours": each}, "ours", unit="instructions"))
    print(*table_lines(rows), sep="\n")
    save(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(sys.argv[1], int(sys.argv[2]))
    else:
        main()

"""Jobs with large arguments, of which a page holds many."""

import tracemalloc

from jobstore import MongoDBJobStore
from support.jobs import job

SIZE = 4_000_000
JOBS = 20


def test_page_of_large_jobs_keeps_only_their_descriptions(database):
    store = MongoDBJobStore(database.name, client=database.client)
    for number in range(JOBS):
        store.add_job(job(f"job-{number:02d}", number, args=[b"x" * SIZE]))
    tracemalloc.start()
    try:
        page = store.find(limit=JOBS)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.bytes > SIZE for each in page] == [True] * JOBS
    assert most < JOBS * SIZE * 0.75  # the server sends 16 MB at a time, and the driver copies them

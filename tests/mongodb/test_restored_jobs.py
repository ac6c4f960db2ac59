"""Every MongoDB store, stock or ours, makes documents of jobs and restores them alike."""

import pytest

from support.every_store import MONGODB, marked, opened
from support.jobs import at, job


@pytest.fixture(params=marked(MONGODB))
def store(request):
    with opened(request.param, request) as store:
        yield store


def test_restored_job_has_the_alias_of_its_store(store):
    store.add_job(job("a", 1))
    for found in (store.lookup_job("a"), *store.get_all_jobs(), *store.get_due_jobs(at(1))):
        assert found._jobstore_alias == "alias"


def test_job_whose_function_cannot_be_imported_by_name_is_refused(store):
    with pytest.raises(ValueError, match="could not be determined"):
        store.add_job(job("a", 1, func=lambda: None))
    assert store.get_all_jobs() == []

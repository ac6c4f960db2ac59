import pytest


@pytest.fixture
def records(database):
    """Return a function that stores records."""

    def store_records(*records):
        database.jobs_runs.insert_many([each.to_document() for each in records])

    return store_records

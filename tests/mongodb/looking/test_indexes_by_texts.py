"""The indexes that are made on demand: searches use them, and examine about a page of documents."""

import pytest
from pymongo import MongoClient, monitoring

from jobstore import MongoDBJobStore, Where
from jobstore.mongodb.codec import Codec
from support.jobs import job, note

NAMES = {"about.func_1__id_1", "about.tags_1__id_1", "about.executor_1__id_1"}
FUNC = "support.jobs:note"
EVERY_TIE = 10_000


def another(*args):
    """Do nothing: the function of other jobs."""


ANOTHER = f"{__name__}:another"


class Finds(monitoring.CommandListener):
    """Keeps the queries."""

    def __init__(self):
        self.commands = []

    def started(self, event):
        if event.command_name == "find":
            self.commands.append(event.command)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture(scope="module")
def finds():
    return Finds()


@pytest.fixture(scope="module")
def filled(server, finds):
    """Return a store with 6,000 jobs, every fourth with another function, and half of them tied."""
    with MongoClient(server.uri, event_listeners=[finds]) as client:
        store = MongoDBJobStore("jobstore_test_texts", client=client, tags=lambda job: job.args)
        store.start(None, "default")
        store.add_jobs(
            job(
                f"{number:05d}",
                None if number % 20 == 7 else EVERY_TIE if number % 2 else number,
                func=another if number % 4 == 0 else note,
                executor=f"executor {number % 40}",
                args=(f"tag {number % 50}",),
            )
            for number in range(6_000)
        )
        store.create_indexes()
        yield store
        store.shutdown()
        client.drop_database("jobstore_test_texts")


def stages(plan):
    yield plan["stage"]
    for each in [plan.get("inputStage"), *plan.get("inputStages", [])]:
        if each:
            yield from stages(each)


def explained(store, finds, *args):
    """Find a page; return it with the plans' stages and the documents and keys examined."""
    finds.commands.clear()
    page = store.find(*args)
    database, names, documents, keys = store.collection.database, set(), 0, 0
    for command in list(finds.commands):
        query = {key: command[key] for key in ("find", "filter", "sort", "limit") if key in command}
        stats = database.command("explain", query, verbosity="executionStats")
        names |= set(stages(stats["queryPlanner"]["winningPlan"]))
        documents += stats["executionStats"]["totalDocsExamined"]
        keys += stats["executionStats"]["totalKeysExamined"]
    return page, names, documents, keys


@pytest.mark.parametrize(
    "where",
    [
        Where(func=ANOTHER),
        Where(tag="tag 6"),
        Where(executor="executor 5"),
        Where(func=ANOTHER, id_prefix="05"),
        Where(func=ANOTHER, paused=False, quarantined=False),
        Where(id_prefix="02"),
    ],
    ids=repr,
)
def test_a_page_by_text_or_id_examines_few_documents_and_sorts_nothing(filled, finds, where):
    first, names, documents, keys = explained(filled, finds, where)
    assert len(first) == 50
    second, more_names, more_documents, more_keys = explained(filled, finds, where, first[-1])
    assert second[0].id > first[-1].id
    assert "SORT" not in names | more_names
    assert max(documents, more_documents) <= 60
    assert max(keys, more_keys) <= 70


def test_a_page_by_time_examines_few_documents(filled, finds):
    first, names, documents, _ = explained(filled, finds)
    _, _, more_documents, _ = explained(filled, finds, Where(), first[-1])
    assert "SORT" not in names  # the jobs of one run time are sorted by id: here, one
    assert max(documents, more_documents) <= 120


def test_a_page_among_many_jobs_of_one_time_examines_some_documents(filled, finds):
    (last,) = filled.find(Where(due_after=filled.describe("00001").next_run_time), limit=1)
    page, _, documents, _ = explained(filled, finds, Where(), last)
    assert [each.id for each in page[:3]] == ["00003", "00005", "00009"]
    assert documents <= 1_000


def test_a_page_of_paused_jobs_reads_no_others(filled, finds):
    page, _, documents, _ = explained(filled, finds, Where(paused=True))
    assert len(page) == 50
    assert documents <= 2_000


def test_the_end_of_the_pages_by_time_reads_no_jobs_that_have_a_time(filled, finds):
    paused = filled.find(Where(paused=True), limit=1000)
    page, _, documents, _ = explained(filled, finds, Where(), paused[-2])
    assert page == [paused[-1]]
    assert documents <= 700


def test_no_other_call_makes_the_indexes(store):
    store.start(None, "default")
    store.add_job(job("a"))
    store.find(Where(func=FUNC))
    store.describe_all()
    assert not NAMES & set(store.collection.index_information())


def test_they_are_made_once_and_again_if_they_are_gone(store):
    store.create_indexes()
    store.create_indexes()
    assert set(store.collection.index_information()) >= NAMES
    assert not any("sparse" in each for each in store.collection.index_information().values())
    store.collection.drop_indexes()
    store.create_indexes()
    assert set(store.collection.index_information()) >= NAMES


def test_with_them_a_search_finds_documents_without_texts(store):
    store.create_indexes()
    document = Codec().to_document(job("a"))
    del document["about"]
    store.collection.insert_one(document)
    assert [each.id for each in store.find(Where(func=FUNC))] == ["a"]
    assert [each.id for each in store.find(Where(executor="default", func=FUNC))] == ["a"]

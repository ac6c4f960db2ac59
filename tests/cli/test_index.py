"""`index` describes all jobs, and creates the indexes."""

from support.jobs import job


def test_index_describes_a_stock_stores_jobs_and_creates_the_indexes(run, stock, store):
    for number in range(3):
        stock.add_job(job(f"{number}", number))
    done = run("index")
    assert (done.code, done.err) == (0, "")
    assert done.out == "3 jobs are newly described\nthe indexes exist\n"
    assert {each["about"]["func"] for each in store.collection.find()} == {"support.jobs:note"}
    keys = {tuple(each["key"]) for each in store.collection.list_indexes()}
    assert {("about.func", "_id"), ("about.tags", "_id"), ("about.executor", "_id")} <= keys


def test_second_run_describes_nothing(run, stock):
    stock.add_job(job("a"))
    run("index")
    assert run("index").out == "0 jobs are newly described\nthe indexes exist\n"

"""Each code block of the README, the site's home and the tutorial works as the pages say.

These tests need a `mongod`, and no fixture of `conftest.py`. They run from any folder that holds
`README.md`, `Makefile` and `docs/` beside `tests/`, also with an installed wheel and its extra
`test` alone::

    cp -r README.md Makefile docs tests pyproject.toml FOLDER
    cd FOLDER && python -m pytest --noconftest tests/docs/test_readme_and_tutorial.py

`support/reader.py` has the rules: how each kind of block is run, and how its output is compared.
"""

import os
import re
from pathlib import Path

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore
from jobstore.testing import mongod
from support.reader import Reader, blocks_of, check_make, check_pip, wait_for_run

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ("index", "memory", "mongodb", "sharing")
TUTORIAL = [ROOT / "docs/tutorial" / f"{name}.md" for name in LESSONS]
README = ROOT / "README.md"
FRAGMENTS = [README, ROOT / "docs/index.md"]  # pages with parts of programs
STORE = re.compile(r"`(M\w+JobStore\(.*?\))`")
RAN = {}  # the events of the jobs that run


def note(name):
    RAN[name].set()


def runs(scheduler, name):
    """Check that a scheduler runs a job, and that its store keeps the job in this package's way."""

    def add(event):
        RAN[name] = event
        (store,) = scheduler._jobstores.values()
        assert isinstance(store, jobstore.BaseJobStore)
        scheduler.add_job(note, args=[name], id=name, misfire_grace_time=None)

    wait_for_run(scheduler, add)


@pytest.fixture(scope="module")
def uri():
    with mongod() as server:
        yield server.uri


def test_the_tutorial_has_no_page_that_is_not_tested():
    assert sorted(TUTORIAL) == sorted(ROOT.joinpath("docs/tutorial").rglob("*.md"))


@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_a_reader_of_the_tutorial_sees_what_the_page_shows(page, tmp_path):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # as a terminal does, line by line
    environment["PYTHONFAULTHANDLER"] = "1"
    reader = Reader(tmp_path, environment, ROOT / "Makefile")
    for earlier in TUTORIAL[: TUTORIAL.index(page)]:
        for block in blocks_of(earlier):
            if block.language == "python":
                reader.save(block)
    try:
        reader.follow(blocks_of(page))
    finally:
        reader.close()


@pytest.mark.parametrize("page", FRAGMENTS, ids=lambda page: page.name)
def test_each_block_of_a_short_page_works(page, uri):
    namespace = {}
    schedulers = 0
    for block in blocks_of(page):
        if block.language == "python":
            code = block.code.replace('host="localhost"', f"host={uri!r}")
            exec(compile(code, str(page), "exec"), namespace)
            if "scheduler =" in block.code:
                schedulers += 1
                runs(namespace["scheduler"], f"{page.stem}-{schedulers}")
        else:
            assert block.language == "sh", f"no rule for a block of {block.language}"
            for line in block.code.splitlines():
                words = line.partition("#")[0].replace("'", "").split()
                check_make(words, ROOT / "Makefile") if words[0] == "make" else check_pip(words)
    assert schedulers == 2, "the switch for memory, and for MongoDB"


def test_each_mode_of_the_readme_runs_a_job(uri):
    calls = STORE.findall(README.read_text(encoding="utf-8"))
    assert len(calls) == len({*calls}) == 4
    stores = {name: getattr(jobstore, name) for name in ("MemoryJobStore", "MongoDBJobStore")}
    for number, call in enumerate(calls):
        options = f"host={uri!r}, collection='mode_{number}'"
        store = eval(call.replace("MongoDBJobStore(", f"MongoDBJobStore({options}, "), stores)
        runs(BackgroundScheduler(jobstores={"default": store}), f"mode-{number}")


def test_the_readme_is_short_and_names_the_test_command():
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") < 130
    assert len(text.split()) < 900
    assert "make test" in text


def test_the_ratios_of_the_readme_are_those_of_the_last_benchmark():
    """They may differ by a tenth, so that not every run of `make bench` changes the README."""
    benchmarks = ROOT.joinpath("docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    table = benchmarks.split("### Memory store, UTC")[1]
    rows = re.findall(
        r"^\| ([\d,]+ jobs) \| (.+?) \| (.+?) \| (.+?) \|$",
        README.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) == 4
    for jobs, *ratios in rows:
        for operation, ratio in zip(("add", "update", "remove"), ratios, strict=True):
            measured = re.search(
                rf"^\| {operation}, {jobs} \| .*? \| ([\d.]+)", table, re.MULTILINE
            )
            assert float(ratio) == pytest.approx(float(measured[1]), rel=0.1), (operation, jobs)


CYCLES = {  # rows of the README: rows of the benchmark, in memory, in MongoDB, mirrored
    "interval triggers": [
        "10,000 jobs, interval, null executor",
        "queried: whole cycle, 1,000 interval jobs, ZoneInfo",
        "mirrored: whole cycle, 1,000 interval jobs, ZoneInfo",
    ],
    "cron triggers, with `fast_cron=True`": [
        "10,000 jobs, cron, null executor, fast_cron, ZoneInfo",
        "queried: whole cycle, 1,000 cron jobs, ZoneInfo, fast_cron",
        "mirrored: whole cycle, 1,000 cron jobs, ZoneInfo, fast_cron",
    ],
}


@pytest.mark.parametrize("row", CYCLES)
def test_the_whole_cycles_of_the_readme_are_those_of_the_last_benchmark(row):
    """They may differ by a quarter, as other programs move them."""
    benchmarks = ROOT.joinpath("docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    promised = re.search(rf"^\| {re.escape(row)} \|(.+)\|$", readme, re.MULTILINE)
    for ratio, name in zip(promised[1].split("|"), CYCLES[row], strict=True):
        measured = re.search(
            rf"^\| {re.escape(name)} \| stock / ours \| ([\d.]+)", benchmarks, re.MULTILINE
        )
        assert float(ratio) == pytest.approx(float(measured[1]), rel=0.25), name


def test_the_latency_of_the_readme_is_that_of_the_last_benchmark():
    """Other programs move the median by up to a quarter, from run to run."""
    benchmarks = ROOT.joinpath("docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    row = re.search(r"\n\| queried, .*at a time \| mean (?:\|[^|]+){3}\| ([\d.]+)", benchmarks)
    promised = re.search(r"runs (\d+) ms after its", README.read_text(encoding="utf-8"))
    assert float(promised[1]) == pytest.approx(float(row[1]), rel=0.25)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```rust\nfn main() {}\n```", "no rule for a block of rust"),
        ("```sh\nbrew install mongodb\n```", "no rule for the command brew"),
        ("```python\nprint(1)\n```", "no file name"),
        ("~~~\nprint(1)\n~~~", "a fence of another form"),
        ("```sh\nmake tea\n```", "make has no tea"),
        ("```sh\npip install 'jobstore[tea]'\n```", "no extra {'tea'}"),
        ("```sh\npip install tea\n```", "not this project"),
        ("```sh\npython -c 'print(1)'\n```", "doesn't show this output"),
        ("```sh\npython -c 'print(1)'\n```\n```text\n2\n```", "printed: ['1']"),
        ("```sh\npython -c 'exit(3)'\n```", "exit(3)"),
    ],
    ids=str,
)
def test_a_block_that_no_rule_covers_or_that_prints_something_else_fails(page, complaint, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    reader = Reader(tmp_path, dict(os.environ), ROOT / "Makefile")
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        reader.follow(blocks_of(path))

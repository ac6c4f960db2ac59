"""`why` says in words why a job ran or not, and `history` lists its records."""

from datetime import datetime, timedelta, timezone

import pytest
import typer

from jobstore.cli.moments import moment
from support.evidence import HOUR, NOON, ONE, change, incident, record
from support.jobs import job

TEXT = "The job was paused at 2025-11-29 11:50:00 UTC, by a call in web-1:4711."
SOURCE = 'record "paused" of 2025-11-29 11:50:00 UTC in jobs_runs'
AT = NOON.isoformat()


@pytest.fixture
def records(database):
    """Return a function that stores records."""

    def store_records(*records):
        database.jobs_runs.insert_many([each.to_document() for each in records])

    return store_records


@pytest.fixture
def paused(store, records):
    """Store a job that is paused ten minutes before noon."""
    store.add_job(job("report", None))
    records(change("paused", -600))


def test_why_prints_the_answer_its_time_its_text_and_its_source(run, paused):
    done = run("why", "report", "--at", AT)
    assert (done.code, done.err) == (0, "")
    assert done.rows == [["paused", AT, TEXT, SOURCE]]


def test_why_takes_a_target(run, paused, target, monkeypatch):
    monkeypatch.delenv("JOBSTORE_URL")
    assert run("why", target, "report", "--at", AT).rows[0][0] == "paused"
    done = run("why", target, target, "report")
    assert done.code == 2
    assert "3 arguments are given: why takes [TARGET] ID" in done.err


def test_why_as_json_has_the_evidence(run, paused):
    [answer] = run("why", "report", "--at", AT, "--json").objects
    [evidence] = answer.pop("evidence")
    assert answer == {"kind": "paused", "text": TEXT, "source": SOURCE, "at": AT}
    assert (evidence["kind"], evidence["by"]) == ("paused", ONE)


def test_why_on_a_terminal_has_labels(run, paused, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    lines = run("why", "report", "--at", AT).out.splitlines()
    assert [line[:14].strip() for line in lines if line[0] != " "] == [
        "answer",
        "at",
        "why",
        "shown by",
    ]
    assert lines[0] == "answer        paused"
    assert lines[1] == "at            2025-11-29 12:00:00 UTC"
    assert max(map(len, lines)) <= 60


def test_why_of_an_id_without_a_job_and_a_record_is_an_error(run):
    done = run("why", "report")
    assert (done.code, done.out) == (3, "")
    assert done.err == ("jobstore: No job 'report' is stored in jobs, and no record has its id.\n")


def test_why_of_a_job_that_is_gone_is_an_answer(run, records):
    records(change("removed", -600))
    assert run("why", "report", "--at", AT).rows[0][0] == "removed"


def test_why_takes_ids_that_are_no_strings(run, store):
    store.collection.insert_one({"_id": 5, "job_state": b"", "next_run_time": None})
    assert run("why", "5").rows[0][0] == "paused"


@pytest.mark.parametrize(("text", "job_id"), [("5", 5), ('"-"', "-"), ("7", "7"), ("null", "null")])
def test_ids_of_jobs_that_are_gone_are_known_by_their_records(run, records, text, job_id):
    records(change("removed", -600, job=job_id), incident("started", -60))
    assert run("why", text, "--at", AT).rows[0][0] == "removed"
    assert [row[1] for row in run("history", text).rows] == ["removed"]


def test_texts_of_others_cannot_command_the_terminal(run, records):
    records(record("error", detail="\x1b[2J\nno", by="scheduler:\x1b:1:2"))
    for arguments in (["why", "report", "--at", AT], ["history", "report"]):
        done = run(*arguments)
        assert "\x1b" not in done.out
        assert "\\x1b[2J\\nno" in done.out


# Times


NOW = NOON + timedelta(hours=3, minutes=30)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("12:00", NOON),
        ("12:00:30", NOON + timedelta(seconds=30)),
        ("15:30", NOW),
        ("15:31", NOON - timedelta(hours=20, minutes=29)),
        ("13:00+01:00", NOON),
        ("12:00Z", NOON),
        ("00:30+05:00", NOON - timedelta(hours=16, minutes=30)),
        ("2025-11-29", NOON - 12 * HOUR),
        ("2025-11-29T12:00", NOON),
        ("2025-11-29 12:00:00", NOON),
        ("2025-11-29 12:00:00 UTC", NOON),
        ("12:00 UTC", NOON),
        ("2025-11-29T12:00:00.500Z", NOON + timedelta(milliseconds=500)),
        ("2025-11-29T13:00+01:00", NOON),
        ("90m", NOON + 2 * HOUR),
        ("0.5h", NOON + 3 * HOUR),
    ],
)
def test_times_of_many_forms(text, time):
    assert moment(text, NOW) == time
    assert moment(text, NOW).tzinfo is timezone.utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "25:00",
        "12:00:",
        "2025-13-01",
        "5",
        "-5m",
        "99999999d",
        "0001-01-01T00:00+23:59",
    ],
)
def test_a_text_that_is_no_time_is_named(text):
    with pytest.raises(typer.BadParameter) as raised:
        moment(text)
    assert repr(text) in str(raised.value)


def test_a_wrong_time_is_an_error_of_the_command(run):
    done = run("why", "report", "--at", "noon")
    assert done.code == 2
    assert "'noon' is no time such as 12:00" in done.err


# History


def test_history_lists_the_records_of_a_job_the_oldest_first(run, records):
    records(
        record("missed", 3),
        record("executed", -3599.5, NOON - HOUR, seconds=0.25),
        incident("away", -5, 60),
    )
    assert run("history", "report").rows == [
        [
            "2025-11-29T11:00:00.500000+00:00",
            "executed",
            "2025-11-29T11:00:00+00:00",
            "0.250000",
            "1",
            "-",
            ONE,
        ],
        ["2025-11-29T12:00:03+00:00", "missed", AT, "-", "1", "-", ONE],
    ]


def test_history_of_the_schedulers_has_a_name_of_its_own(run, records):
    records(record("missed"), incident("started", -9000), incident("away", -5, 60))
    assert [row[1] for row in run("history", "-").rows] == ["started", "away"]


def test_history_since_a_time_and_of_some_records(run, records):
    records(*[record("missed", n, NOON) for n in range(10)])
    assert len(run("history", "report", "--since", "2025-11-29T12:00:04").rows) == 6
    rows = run("history", "report", "--limit", "2").rows
    assert [row[0][17:19] for row in rows] == ["08", "09"]


def test_history_as_json(run, records):
    records(record("coalesced", 3, runs=4, until=NOON + HOUR))
    [found] = run("history", "report", "--json").objects
    assert found == {
        "job_id": "report",
        "kind": "coalesced",
        "at": "2025-11-29T12:00:03+00:00",
        "run_time": AT,
        "seconds": None,
        "runs": 4,
        "until": "2025-11-29T13:00:00+00:00",
        "detail": "",
        "by": ONE,
    }


def test_history_on_a_terminal_is_a_table(run, records, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    assert run("history", "report").out == "no records\n"
    records(record("error", detail="ValueError: no"))
    head, line = run("history", "report").out.splitlines()
    assert head.split()[0] == "TIME"
    assert "ValueError: no" in line
    assert "web-1:4711" in line


def test_history_without_records_is_empty(run):
    assert run("history", "report") == (0, "", "")


def test_a_time_of_day_is_the_last_one(run, records):
    yesterday = datetime.now(timezone.utc) - timedelta(hours=23)
    at = yesterday.replace(second=0, microsecond=0)
    missed = record("missed")._replace(at=at + timedelta(seconds=9), run_time=at)
    records(missed)
    answer = run("why", "report", "--at", f"{at:%H:%M}", "--json").objects[0]
    assert (answer["kind"], answer["at"]) == ("misfired", at.isoformat())

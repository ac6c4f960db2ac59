"""`doctor`: findings with advice, for a person and for a program; the exit code; bad servers."""

import re

import pytest

from jobstore.cli import main
from support.damaged_documents import good
from support.jobs import at, job
from support.pages import DOCS
from support.presences import enlarge_oplog, plant
from support.proxy import Proxy
from support.terminals import on_terminal

from .conftest import PROGRAM, url_of

HOSTILE = "\x1b]0;title\x07\x1b[2J[red]\u202e\r\n\x9b31m"
KEYS = {"level", "name", "text", "advice"}


@pytest.fixture
def healthy(store):
    store.start(None, "default")
    store.shutdown()
    enlarge_oplog(store.collection.database.client)
    plant(store.collection)
    return store


def test_exit_code_is_that_of_the_worst_level(run, healthy):
    assert run("doctor").code == 0
    healthy.collection.insert_one(good("a"))
    healthy.collection.drop_indexes()
    assert run("doctor").code == 1
    healthy.collection.database.drop_collection("jobs_meta")
    assert run("doctor").code == 2


def test_each_finding_is_a_line_of_four_cells(run, healthy):
    done = run("doctor")
    assert {len(row) for row in done.rows} == {4}
    rows = {row[1]: row for row in done.rows}
    assert rows["indexes"] == ["well", "indexes", "no index is missing", "-"]
    assert done.err == ""


def test_json_has_one_object_for_each_finding(run, healthy):
    objects = run("doctor", "--json").objects
    assert {frozenset(each) for each in objects} == {frozenset(KEYS)}
    assert [each["name"] for each in objects] == [row[1] for row in run("doctor").rows]


def test_each_name_of_a_finding_is_on_the_page(run, healthy):
    page = (DOCS / "how-to" / "doctor.md").read_text(encoding="utf-8")
    plant(healthy.collection, "web-2", versions={"jobstore": "9.9.9"})
    for row in run("doctor").rows:
        assert f"| `{row[1]}` |" in page
    assert "| `connection` |" in page


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_server_that_is_gone_is_a_finding_and_exit_code_2(run, monkeypatch, as_json):
    monkeypatch.setenv("JOBSTORE_URL", "mongodb://127.0.0.1:1/a.b?serverSelectionTimeoutMS=100")
    done = run("doctor", *as_json)
    assert (done.code, done.err) == (2, "")
    assert "Connection refused" in done.out
    assert "See whether the server runs" in done.out


def test_server_that_hangs_ends_the_command(run, server, database, monkeypatch):
    with Proxy(server.nodes[0].port) as proxy:
        proxy.hold()
        monkeypatch.setenv("JOBSTORE_URL", url_of(proxy.uri, database.name))
        assert run("doctor").code == 2


def test_wrong_url_is_an_error_without_the_password(capsys):
    assert main(["doctor", "mongodb://user:keep-it-secret@host/x?nonsense=1"]) == 2
    assert "keep-it-secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_terminal_gets_lines_that_fit_with_the_advice_below(target, healthy, width):
    healthy.collection.insert_one(good("a"))
    healthy.collection.drop_indexes()
    with on_terminal([*PROGRAM, "doctor", target], width) as terminal:
        assert terminal.end() == 1
    lines = terminal.screen
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.text)
    has_room = width == 200  # for commands, which are not broken, so that they can be copied
    assert not has_room or plain.count("\n") == len(lines)
    assert lines[0].startswith("well      client")
    (place,) = (number for number, line in enumerate(lines) if line.startswith("degraded"))
    assert " ".join(" ".join(lines[place : place + 2]).split()).startswith(
        "degraded indexes no index on next_run_time"
    )
    indent = 4 if width == 40 else 25
    assert any(line.startswith(" " * indent + "-> Start a scheduler") for line in lines)
    assert "\x1b[33mdegraded" in terminal.text


def test_hostile_texts_are_escaped(target, run, healthy):
    plant(healthy.collection, HOSTILE, mode=HOSTILE, versions={HOSTILE: HOSTILE})
    plant(healthy.collection, versions={HOSTILE: "2"}, state=HOSTILE)
    mark = {"quarantine": {"since": at(0), "reason": HOSTILE}, "next_run_time": None}
    healthy.collection.insert_one(mark)
    for arguments in ([], ["--json"]):
        out = run("doctor", *arguments).out
        assert all(each.isprintable() or each in "\n\t" for each in out)
    with on_terminal([*PROGRAM, "doctor", target], 300) as terminal:
        terminal.end()
    assert "\x1b[2J" not in terminal.text
    assert "\x1b]" not in terminal.text


def test_newer_format_is_a_finding_of_the_doctor(run, healthy):
    meta = healthy.collection.database["jobs_meta"]
    meta.update_one({"_id": "format"}, {"$set": {"read": 2, "write": 2}})
    done = run("doctor")
    assert done.code == 1
    assert "format 2 to read, and 2 to write" in done.out


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (["ls"], "read"),
        (["stats"], "read"),
        (["index"], "write"),
        (["quarantine", "restore"], "write"),
    ],
)
def test_other_commands_refuse_a_newer_format(run, healthy, command, key):
    healthy.add_job(job("a"))
    meta = healthy.collection.database["jobs_meta"]
    before = list(healthy.collection.find())
    meta.update_one({"_id": "format"}, {"$set": {key: 2}})
    done = run(*command)
    assert (done.code, done.out) == (1, "")
    assert "has format 2, and this version of jobstore can" in done.err
    assert "install a newer version of jobstore" in done.err
    assert list(healthy.collection.find()) == before
    meta.update_one({"_id": "format"}, {"$set": {key: 1}})
    assert run(*command).code == 0


def test_commands_that_only_read_take_a_format_that_is_newer_to_write(run, healthy):
    healthy.collection.database["jobs_meta"].update_one({"_id": "format"}, {"$set": {"write": 2}})
    assert run("ls").code == 0

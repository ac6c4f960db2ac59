"""TARGET is a URL with defaults; an error names it, and never its password."""

import pytest

from jobstore.cli import main
from jobstore.cli.failures import CommandError, hide
from jobstore.cli.target import Target, split_words

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "database", "collection"),
    [
        ("mongodb://localhost/app.tasks", "app", "tasks"),
        ("mongodb://localhost/app.tasks.old", "app", "tasks.old"),
        ("mongodb://localhost/app", "app", "jobs"),
        ("mongodb://localhost/", "apscheduler", "jobs"),
        ("mongodb://localhost", "apscheduler", "jobs"),
        ("mongodb://localhost?tls=true", "apscheduler", "jobs"),
        ("mongodb://a:1,b:2/app.tasks?replicaSet=r", "app", "tasks"),
        ("mongodb://user:p%2Fw@[::1]:27017/app.t%2Ft", "app", "t/t"),
        ("mongodb+srv://user:pw@cluster.example.com/app.tasks", "app", "tasks"),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/app.tasks", "app", "tasks"),
    ],
)
def test_url_names_database_and_collection_or_the_stores_defaults(url, database, collection):
    target = Target.parse(url)
    assert (target.url, target.database, target.collection) == (url, database, collection)
    assert str(target) == f"{database}.{collection}"


def test_options_are_known_in_lower_case():
    target = Target.parse("mongodb://h/d.c?timeoutMS=9&tls=true;appName=x")
    assert target.options == {"timeoutms", "tls", "appname"}


def test_variable_stands_for_a_target_that_is_left_out(monkeypatch):
    monkeypatch.setenv("JOBSTORE_URL", "mongodb://h/d.c")
    assert Target.parse(None).url == "mongodb://h/d.c"
    assert Target.parse("mongodb://g/d.c").url == "mongodb://g/d.c"


def test_missing_target_is_an_error_that_names_the_variable(capsys):
    assert main(["ls"]) == 2
    assert "JOBSTORE_URL" in capsys.readouterr().err


def test_first_word_is_the_target_if_it_is_a_url():
    assert split_words(["mongodb://h", "a", "b"]) == ("mongodb://h", ["a", "b"])
    assert split_words(["mongodb+srv://h"]) == ("mongodb+srv://h", [])
    assert split_words(["a", "mongodb://h"]) == (None, ["a", "mongodb://h"])
    assert split_words([]) == (None, [])


@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://user:{SECRET}/{SECRET}@h/d.c",
        f"mongodb://user:{SECRET}@{SECRET}@h/d.c",
        f"mongodb://user:{SECRET}:{SECRET}@h/d.c",
        f"mongodb://user:{SECRET}?{SECRET}@h/d.c",
        f"mongodb://user:{SECRET}#@h/d.c",
        f"mongodb://user:{SECRET}%zz@h/d.c",
        f"mongodb://user:{SECRET} {SECRET}@h:port/d.c",
        f"mongodb://user:{SECRET}@h:99999999/d.c",
        f"mongodb://user:{SECRET}@h/d.c?foo=bar",
        f"mongodb://user:{SECRET}@/d.c",
        f"mongodb://user:{SECRET}@h/d.c?w=0",
        f"mongodb://user:{SECRET}@h/d$.c",
        f"mongodb://user:{SECRET}@h/d.$c",
        f"mongodb://h/d.c?foo=bar&tlsCertificateKeyFilePassword={SECRET}",
        f"mongodb://user:{SECRET}@h/d.c?authMechanism=NONE",
        f"mongodb://:{SECRET}@h/d.c",
        f"http://user:{SECRET}@h/d.c",
        f"user:{SECRET}@h/d.c",
        f"mongo://user:{SECRET}@{SECRET}@h/d.c",
    ],
)
@pytest.mark.parametrize("words", [["ls"], ["show"], ["stats"], ["quarantine", "restore"]])
def test_wrong_target_is_an_error_without_its_password(url, words, capsys, monkeypatch):
    monkeypatch.setenv("JOBSTORE_URL", url)
    id_ = ["id"] if words == ["show"] else []
    for arguments in ([*words, *id_], [*words, url, *id_], [*words, url, *id_, url, url]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        assert len(err.splitlines()) == 1
        assert err.startswith("jobstore: ")


def test_unexpected_argument_is_quoted_without_its_password(capsys):
    url = f"mongodb://user:{SECRET}@h/d.c"
    for arguments in ([url], ["ls", url, url], ["ls", f"--url={url}"], [f"--{url}"], ["demo", url]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert SECRET not in out + err


def test_help_shows_no_password_of_the_variable(capsys, monkeypatch):
    monkeypatch.setenv("JOBSTORE_URL", f"mongodb://user:{SECRET}@h/d.c")
    assert main(["ls", "--help"]) == 0
    assert SECRET not in capsys.readouterr().out


def test_errors_of_the_driver_are_shown_without_credentials():
    assert hide("bad mongodb://u:p@h/x and mongodb://h") == "bad mongodb://***@h/x and mongodb://h"
    assert hide("no such thing: u:p p@h", ["mongodb://u:p p@h"]) == "no such thing: ***@h"
    assert hide("such as h/?tlsCertificateKeyFilePassword=p&tls=1") == (
        "such as h/?tlsCertificateKeyFilePassword=***&tls=1"
    )
    assert hide("h/?authMechanismProperties=AWS_SESSION_TOKEN:p") == (
        "h/?authMechanismProperties=AWS_SESSION_TOKEN:***"
    )
    assert hide("job me@example.com", ["me@example.com"]) == "job me@example.com"


def test_wrong_target_is_an_error_of_the_command():
    with pytest.raises(CommandError) as raised:
        Target.parse("localhost")
    assert raised.value.code == 2

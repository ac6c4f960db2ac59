"""The program's help, its version, its completion, and what it needs."""

import os
import re
import subprocess
import sys

import pytest

from jobstore import __version__, backend
from jobstore.cli import main
from support.processes import PATIENCE

from .conftest import PROGRAM

COMMANDS = [
    ["ls"],
    ["show"],
    ["count"],
    ["stats"],
    ["why"],
    ["history"],
    ["health"],
    ["schedulers"],
    ["doctor"],
    ["top"],
    ["quarantine"],
    ["quarantine", "list"],
    ["quarantine", "restore"],
    ["index"],
    ["verify"],
    ["sign"],
    ["demo"],
]


def python(code, *arguments, **variables):
    """Run Python code in a process."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_each_command_has_examples(command, option, capsys):
    assert main([*command, option]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: jobstore {' '.join(command)} [OPTIONS]")
    examples = out.partition("Examples:\n\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert all(line.startswith(f"    jobstore {command[0]}") for line in examples)
    assert max(map(len, out.splitlines())) <= 80


def test_help_of_the_program_lists_all_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE) == [
        "ls",
        "show",
        "count",
        "stats",
        "why",
        "history",
        "health",
        "schedulers",
        "doctor",
        "top",
        "index",
        "verify",
        "sign",
        "demo",
        "quarantine",
    ]


def test_without_a_command_the_help_is_printed_with_the_code_of_wrong_arguments(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_unknown_command_and_option_are_refused_in_one_line(capsys):
    assert main(["frob"]) == 2
    assert capsys.readouterr().err == ("jobstore: No such command 'frob' -- see jobstore --help\n")
    assert main(["ls", "--zzz"]) == 2
    [line] = capsys.readouterr().err.splitlines()  # click puts the option in quotes
    assert line.replace("'", "") == "jobstore: No such option: --zzz -- see jobstore ls --help"


def test_arguments_with_control_characters_are_escaped(capsys):
    for arguments in (["\x1b[2J"], ["ls", "--due", "\x1b[2J"], ["ls", "--\x1b[2J"]):
        assert main(arguments) == 2
        assert "\x1b" not in capsys.readouterr().err


def test_version_names_the_index_in_use(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jobstore {__version__} (index: {backend})\n"


def test_module_and_function_are_the_same_program():
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, f"jobstore {__version__} (index: {backend})\n")


@pytest.mark.parametrize("missing", ["typer", "rich", "pymongo"])
def test_missing_extra_is_named_in_one_line(missing):
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from jobstore.cli import main\n"
        "assert main(['--version']) == 0\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for arguments in (["ls"], ["--help"], []):
        done = python(code, *arguments)
        assert done.returncode == 1
        assert done.stdout.splitlines() == [f"jobstore {__version__} (index: {backend})"]
        [line] = done.stderr.splitlines()
        assert line.startswith("jobstore: the command line needs ")
        assert line.endswith(": pip install 'jobstore[cli]'")


def test_other_missing_modules_are_not_taken_for_the_extra():
    code = (
        "import sys\nsys.modules['jobstore.where'] = None\n"
        "from jobstore.cli import main\nmain(['ls'])"
    )
    assert "ModuleNotFoundError" in python(code).stderr


def test_package_does_not_import_the_command_line():
    done = python(
        "import sys, jobstore, jobstore.cli\nfrom jobstore import MongoDBJobStore\n"
        "print(sorted({'typer', 'rich', 'click'} & set(sys.modules)))"
    )
    assert done.stdout == "[]\n"


def test_shell_completion_offers_commands_and_options():
    complete = {"_JOBSTORE_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    code = "from jobstore.cli import main; raise SystemExit(main())"
    done = python(code, **complete, COMP_WORDS="jobstore s")
    assert set(done.stdout.split()) == {"schedulers", "show", "sign", "stats"}
    complete["COMP_CWORD"] = "2"
    done = python(code, **complete, COMP_WORDS="jobstore ls --id")
    assert done.stdout.split() == ["--id-prefix"]


def test_unforeseen_error_is_one_line_without_a_traceback(monkeypatch, capsys):
    from jobstore.cli import stats

    def fail(target):
        raise RuntimeError("first\nsecond mongodb://u:secret@h/")

    monkeypatch.setattr(stats, "open_store", fail)
    assert main(["stats", "mongodb://u:secret@h/"]) == 1
    assert capsys.readouterr().err == "jobstore: RuntimeError: first second mongodb://***@h/\n"

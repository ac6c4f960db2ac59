"""The page of the command line has each command and option of the program, with its default."""

import re
from pathlib import Path

from typer.main import get_command

from jobstore.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
TEXT = PAGE.read_text(encoding="utf-8")


def commands(group=None, path=()):
    """Return the program and its commands, by the words that call them."""
    group = group or get_command(app)
    found = {" ".join(path): group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, (*path, name))
    return found


def section(words):
    """Return the part of the page about one command, or the part before all of them."""
    if not words:
        return TEXT.partition("\n## ")[0]
    if words == "quarantine list":
        words = "quarantine"
    found = re.search(rf"^##+ `{words}` .*?(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, words
    return found[0]


def options(command):
    return [each for each in command.params if each.param_type_name == "option"]


def test_each_option_of_each_command_is_in_its_section():
    for words, command in commands().items():
        named = set(re.findall(r"`(-[-a-z]+)", section(words)))
        assert {name for each in options(command) for name in each.opts} <= named, words


def test_each_option_on_the_page_is_one_of_its_command():
    known = {
        name for each in commands().values() for option in options(each) for name in option.opts
    }
    assert set(re.findall(r"^\| `(-[-a-z]+)", TEXT, re.MULTILINE)) - {"-h"} <= known
    for words, command in commands().items():
        rows = set(re.findall(r"^\| `(--[-a-z]+)", section(words), re.MULTILINE))
        if words != "quarantine":  # its section is that of `quarantine list`
            assert rows <= {name for each in options(command) for name in each.opts}, words


def test_each_row_of_an_option_has_its_metavar_and_its_default():
    for words, command in commands().items():
        for option in options(command):
            [name] = option.opts
            if words == "count":
                assert f"`{name}" in section(words)
                continue
            [row] = re.findall(rf"^\| `{name}\b.*$", section(words), re.MULTILINE)
            if option.metavar:
                assert f"`{name} {option.metavar}`" in row
            if option.default in (None, False):
                continue
            default = getattr(option.default, "value", option.default)
            cells = [cell.strip(" `") for cell in row.strip("|").split(" | ")]
            assert str(default).removesuffix(".0") in cells[1:], (words, row)


def test_each_command_has_a_row_and_its_arguments_are_on_the_page():
    for words, command in commands().items():
        if not words:
            continue
        assert f"[`{words.removesuffix(' list')}`](#" in section("")
        for each in command.params:
            if each.param_type_name == "argument":
                for word in each.metavar.split("|"):
                    assert word in section(words), (words, word)

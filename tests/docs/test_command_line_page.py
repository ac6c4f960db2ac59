"""The page of the command line has each command and option of the program, with its default."""

import argparse
import re
from pathlib import Path

from jobstore.cli import _parser

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
TEXT = PAGE.read_text(encoding="utf-8")


def parsers():
    """Return the program's parser and those of its commands, by the command's name."""
    program = _parser()
    [commands] = [
        action for action in program._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return {"": program, **commands.choices}


def section(command):
    """Return the part of the page about one command, or the part before all of them."""
    if not command:
        return TEXT.partition("\n## ")[0]
    return TEXT.partition(f"\n## `{command}`")[2].partition("\n## ")[0]


def options(parser):
    return [action for action in parser._actions if action.option_strings]


def test_each_option_of_each_command_is_on_the_page():
    for command, parser in parsers().items():
        text = TEXT if command == "" else section(command) + section("")
        named = set(re.findall(r"`(-[-a-z]+)", text))
        assert {name for each in options(parser) for name in each.option_strings} <= named


def test_each_option_on_the_page_is_one_of_the_program():
    known = {name for each in parsers().values() for name in each._option_string_actions}
    assert set(re.findall(r"^\| `(-[-a-z]+)", TEXT, re.MULTILINE)) <= known


def test_each_row_of_an_option_has_its_choices_and_its_default():
    for command, parser in parsers().items():
        for option in options(parser):
            if option.default in (None, argparse.SUPPRESS):
                continue
            [name] = option.option_strings
            [row] = re.findall(rf"^\| `{name}\b.*$", section(command), re.MULTILINE)
            allowed, default = row.split(" | ")[1:3]
            assert default.strip("`") == str(option.default).removesuffix(".0")
            assert all(f"`{choice}`" in allowed for choice in option.choices or ())


def test_the_usage_lines_are_those_of_the_program():
    for command, parser in parsers().items():
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        assert usage in section(command)

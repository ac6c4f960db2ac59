"""The page of log messages has one row for each message that the code logs, with its level."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jobstore

CODE = Path(jobstore.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "logs.md"
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
PLACEHOLDER = re.compile(r"%[sdg]")
FORWARDS = "mongodb/summary.py"  # logs the formats of `Line` objects, which stand elsewhere


class Message(NamedTuple):
    """A message with its placeholders as ``…``, and its possible levels."""

    text: str
    levels: frozenset[str]


def row(levels, *texts):
    """Make one row's messages: the form for one job, and that for several."""
    return tuple(Message(PLACEHOLDER.sub("…", text), frozenset(levels)) for text in texts)


def named_levels(node):
    return [
        each.attr.lower()
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "logging"
    ]


def levels_of(call, function):
    """Return the levels of a call of a logger: its name, or those that its variable may have."""
    if call.func.attr != "log":
        return [call.func.attr]
    variable = ast.unparse(call.args[0])
    assigned = [
        each
        for each in ast.walk(function)
        if isinstance(each, ast.Assign)
        and ast.unparse(each.targets[0]) == variable
        and each.lineno < call.lineno
    ]
    return named_levels(max(assigned, key=lambda each: each.lineno).value)


def rows_of(module):
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if is_of_logger(call):
                    format_string = call.args[1 if call.func.attr == "log" else 0]
                    yield row(levels_of(call, function), ast.literal_eval(format_string))
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Line":
            level, singular, plural = call.args
            yield row(named_levels(level), *map(ast.literal_eval, (singular, plural)))


def is_of_logger(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS
        and re.search(r"logger$|^logging\.getLogger\(", ast.unparse(node.func.value)) is not None
    )


def rows_of_code():
    return {
        found
        for path in CODE.rglob("*.py")
        if path.relative_to(CODE).as_posix() != FORWARDS
        for found in rows_of(ast.parse(path.read_text(encoding="utf-8")))
    }


def rows_of_page():
    own = PAGE.read_text(encoding="utf-8").partition("{ #apscheduler }")[0]
    found = re.findall(r"^\| ([a-z, ]+) \| (`.+?`) \| .+ \|$", own, re.MULTILINE)
    return [row(levels.split(", "), *re.findall("`(.+?)`", cell)) for levels, cell in found]


def test_each_message_of_the_code_has_a_row_with_its_level():
    assert rows_of_code() - set(rows_of_page()) == set()


def test_each_row_has_a_message_of_the_code():
    assert set(rows_of_page()) - rows_of_code() == set()


def test_no_message_has_two_rows():
    counts = Counter(rows_of_page())
    assert [found for found, count in counts.items() if count > 1] == []

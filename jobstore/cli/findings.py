"""Findings on the terminal, for a program, and as an exit code."""

from collections.abc import Sequence

from ..mongodb import Finding
from ..mongodb.health.finding import LEVELS
from ..mongodb.health.findings import worst
from .as_json import to_json
from .details import wrapped
from .output import Output
from .printable import fit, printable

__all__ = ["exit_code", "write_findings", "write_wrapped"]

STYLES = {"well": "green", "degraded": "yellow", "down": "red"}
LEVEL, NAME = 10, 15  # the widths of the columns
WIDE, NARROW = 60, 4  # columns of a terminal that has room beside the names; else the indent
ARROW = "-> "


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of the worst finding."""
    return LEVELS.index(worst(findings))


def write_findings(findings: Sequence[Finding], output: Output, as_json: bool = False) -> None:
    """Write each finding: a line for a program, or wrapped lines for a person."""
    for finding in findings:
        if as_json:
            output.json(to_json(finding))
        elif output.is_terminal:
            write_wrapped(finding, output)
        else:
            output.record([printable(each) or "-" for each in finding])


def write_wrapped(finding: Finding, output: Output) -> None:
    """Write a finding and, below it, its advice; both in lines that fit."""
    indent = LEVEL + NAME if output.width >= WIDE else NARROW
    lines = wrapped(printable(finding.text), output.width - indent)
    first = lines.pop(0) if indent > NARROW else ""
    head = (fit(finding.level, LEVEL), STYLES[finding.level])
    output.line(head, (fit(printable(finding.name), NAME), "bold"), first)
    for line in lines:
        output.line(" " * indent, line)
    if finding.advice:
        style = "dim" if finding.level == "well" else ""
        advice = wrapped(printable(finding.advice), output.width - indent - len(ARROW))
        for number, line in enumerate(advice):
            start = " " * len(ARROW) if number else ARROW
            output.line(" " * indent, (f"{start}{line}", style))

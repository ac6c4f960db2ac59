"""The code blocks of the documentation's pages."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "Block", "blocks"]

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block of a page.

    :ivar title: the name of the file that it shows; None if it is no file.
    :ivar line: the number of its first line in the page.
    """

    page: Path
    language: str
    title: str | None
    code: str
    line: int

    @property
    def place(self) -> str:
        """Where it is, for tracebacks and test names."""
        return f"{self.page.relative_to(DOCS)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in their order."""
    text = page.read_text()
    return [
        Block(
            page,
            found["language"],
            found["title"],
            re.sub(f"^{found['indent']}", "", found["code"], flags=re.MULTILINE),
            text.count("\n", 0, found.start()) + 2,
        )
        for found in FENCE.finditer(text)
    ]

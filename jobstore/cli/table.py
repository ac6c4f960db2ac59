"""Tables that fit a terminal: texts are shortened, and columns that find no place are left out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .output import Output, Part
from .printable import fit, width_of

__all__ = ["GAP", "Column", "Table"]

GAP = 2
Row = Sequence[Part]


class Column(NamedTuple):
    """A column of a table.

    :ivar title: its heading.
    :ivar least: how far its texts may be shortened, in characters; None if not at all.
    :ivar keep_end: whether to shorten texts at the front.
    :ivar to_right: whether to align texts to the right.
    """

    title: str
    least: int | None = None
    keep_end: bool = False
    to_right: bool = False


class Table:
    """A table, whose columns are as wide as its first rows need.

    :param columns: the columns, the most important ones first.
    :param rows: the first rows, with a cell for each column.
    :param width: the width of the terminal, in characters.
    :param needed: the number of columns that are never left out.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Row], width: int, needed: int
    ) -> None:
        self._columns = columns
        natural = [
            max(width_of(text) for text in (column.title, *(plain(row[place]) for row in rows)))
            for place, column in enumerate(columns)
        ]
        self._widths: list[int] = []
        left = width + GAP
        for place, (wide, column) in enumerate(zip(natural, columns, strict=True)):
            least = wide if column.least is None else min(wide, column.least)
            if place >= needed and least + GAP > left:
                break
            self._widths.append(least)
            left -= least + GAP
        self._fill(natural, left)

    def _fill(self, natural: list[int], left: int) -> None:
        """Widen the narrowest columns until no space is left, or narrow the widest ones."""
        widths = self._widths
        flexible = [place for place in range(len(widths)) if self._columns[place].least is not None]
        while left > 0:
            narrow = [place for place in flexible if widths[place] < natural[place]]
            if not narrow:
                return
            widths[min(narrow, key=widths.__getitem__)] += 1
            left -= 1
        while left < 0 and any(widths[place] > 1 for place in flexible):
            widths[max(flexible, key=widths.__getitem__)] -= 1
            left += 1

    @property
    def width(self) -> int:
        """Its width, in characters."""
        return sum(self._widths) + GAP * (len(self._widths) - 1)

    def write(self, output: Output, rows: Sequence[Row], end: Part = "") -> None:
        """Write rows.

        :param end: goes behind each row.
        """
        for row in rows:
            output.line(*self._cells(row), " " * GAP, end)

    def write_head(self, output: Output) -> None:
        """Write the headings."""
        output.line(*self._cells([(column.title, "bold") for column in self._columns]))

    def _cells(self, row: Row) -> Iterator[Part]:
        for number, (cell, width) in enumerate(zip(row, self._widths, strict=False)):
            column, text = self._columns[number], plain(cell)
            if column.to_right:
                text = " " * (width - width_of(text)) + text
            text = fit(text, width, column.keep_end)
            yield " " * GAP if number else ""
            yield text if isinstance(cell, str) else (text, cell[1])


def plain(cell: Part) -> str:
    """Return a cell's text without its style."""
    return cell if isinstance(cell, str) else cell[0]

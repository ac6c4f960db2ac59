"""Texts that are safe to print: a job's name must not send commands to the terminal."""

from rich.cells import cell_len, set_cell_size

__all__ = ["BAR", "ELLIPSIS", "fit", "in_ascii", "printable", "width_of"]

width_of = cell_len  # the columns that a text takes: two for each wide character
ELLIPSIS, BAR = "…", "█"
ASCII = str.maketrans({ELLIPSIS: "~", BAR: "#"})


def printable(value: object) -> str:
    r"""Escape control characters, line ends, and characters that change the text's direction.

    >>> printable("\x1b[2J")
    '\\x1b[2J'
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def in_ascii(text: str) -> str:
    """Replace the marks of tables and bars by those of ASCII, as wide."""
    return text.translate(ASCII)


def fit(text: str, width: int, keep_end: bool = False) -> str:
    """Shorten a text to so many columns, or fill it up with blanks.

    :param keep_end: shorten at the front. The end of ``module:name`` says more than its beginning.
    """
    if width_of(text) <= width:
        return text + " " * (width - width_of(text))
    if not keep_end:
        return set_cell_size(text, width - 1) + ELLIPSIS
    return ELLIPSIS + set_cell_size(text[::-1], width - 1)[::-1]

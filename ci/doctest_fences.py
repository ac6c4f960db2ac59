"""An extension of mkdocstrings: docstrings' examples become code blocks on the site.

In Markdown a line that begins with ``>>>`` would be three nested quotations.
"""

import re
from typing import Any

import griffe

__all__ = ["DoctestFences"]

EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class DoctestFences(griffe.Extension):
    """Puts each example of a docstring, with its output, between fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was loaded."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)

"""The page on `why` lists each answer."""

import re

from jobstore.mongodb.history.answer import ANSWERS
from support.pages import DOCS

PAGE = (DOCS / "how-to" / "why.md").read_text(encoding="utf-8")


def test_each_answer_has_a_row_in_order():
    assert re.findall(r"^\| `([a-z ]+)` \|", PAGE, re.MULTILINE) == list(ANSWERS)

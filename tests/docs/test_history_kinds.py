"""The page of documents lists the kinds of the history's records, and the fields of a record."""

import re
from datetime import datetime, timezone
from pathlib import Path

from jobstore.mongodb.history.record import KINDS, PROBLEMS, HistoryRecord

DOCS = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (DOCS / "documents.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("{ #runs }")[2].partition("\n## ")[0]
FIELDS, KIND_ROWS = SECTION.split("| Kind |")


def test_each_kind_has_a_row_with_its_meaning():
    rows = re.findall(r"^\| `([\w ]+)` \| (.+?) \| (yes)? ?\|", KIND_ROWS, re.MULTILINE)
    assert {kind: meaning for kind, meaning, _ in rows} == KINDS
    assert {kind for kind, _, problem in rows if problem} == PROBLEMS


def test_each_field_has_a_row():
    now = datetime.now(timezone.utc)
    full = HistoryRecord("a", "executed", now, now, 1.0, 2, now, "text", "by").to_document()
    assert set(re.findall(r"^\| `(\w+)` \|", FIELDS, re.MULTILINE)) == {"_id", *full}

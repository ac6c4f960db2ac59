"""The page of arguments has each argument of both stores, with its default; its examples run."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from jobstore import MemoryJobStore, MongoDBJobStore

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "arguments.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def arguments(store_class):
    """Return the arguments by name, without ``**connect_args``."""
    parameters = inspect.signature(store_class).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}


def test_the_table_has_each_argument_of_the_mongodb_store_with_its_default():
    rows = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \| `(.+?)` \|", TEXT, re.MULTILINE)
    assert [name for name, _, _ in rows] == [anchor for _, anchor, _ in rows]
    defaults = {name: eval(default, {"pickle": pickle}) for name, _, default in rows}
    assert defaults == arguments(MongoDBJobStore)


def test_each_argument_of_both_stores_has_a_section():
    sections = set(re.findall(r"^### `(\w+)` \{ #\1 \}$", TEXT, re.MULTILINE))
    assert sections == {*arguments(MongoDBJobStore), *arguments(MemoryJobStore)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_makes_the_stores_that_it_names(example):
    names = {}
    exec(example, names)
    made = names["scheduler"]._jobstores if "scheduler" in names else {"": names["store"]}
    for store in made.values():
        store.shutdown()
    assert made
    assert all(isinstance(each, MemoryJobStore | MongoDBJobStore) for each in made.values())

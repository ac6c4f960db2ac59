"""The pages show every public name of the package, and every error that it raises."""

import ast
import re
from pathlib import Path

import pytest

import jobstore
from jobstore import MemoryJobStore, MongoDBJobStore, events, metrics, mongodb, testing
from jobstore.describe import Lease, QuarantineMark, describe
from jobstore.triggers import CronTrigger

DOCS = Path(__file__).parents[2] / "docs" / "reference"
API = (DOCS / "api.md").read_text(encoding="utf-8")
ERRORS = (DOCS / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^::: ([\w.]+)\n((?:    .*\n)*)", API, re.MULTILINE))
OF_APSCHEDULER = {"ConflictingIdError", "JobLookupError"}  # documented there
NEVER_RAISED_TO_CALLERS = {
    "CommandError",
    "NotLiveError",
    "PipeClosedError",
    "RefusedError",
    "StockDecidesError",
    "StreamLostError",
    "UnknownFieldError",
    "UnknownKeyError",
    "UnreadableError",
    "UntrustedError",
}


def test_each_public_name_of_the_package_is_shown():
    names = {name for name in jobstore.__all__ if not name.startswith("_")} - OF_APSCHEDULER
    public = {f"jobstore.{name}" for name in {*names, "MongoDBJobStore", "health"}}
    public |= {f"jobstore.mongodb.{name}" for name in mongodb.__all__ if name != "MongoDBJobStore"}
    public |= {f"jobstore.events.{name}" for name in events.__all__}
    public |= {f"jobstore.metrics.{name}" for name in metrics.__all__}
    public |= {f"jobstore.testing.{name}" for name in {*testing.__all__, "Node"}}
    public.add(f"jobstore.triggers.{CronTrigger.__name__}")
    public |= {f"jobstore.describe.{each.__name__}" for each in (Lease, QuarantineMark, describe)}
    assert set(SECTIONS) == public


@pytest.mark.parametrize("store_class", [MemoryJobStore, MongoDBJobStore])
def test_each_public_member_of_a_store_is_shown_and_described(store_class):
    shown = re.findall(r"^        - (\w+)$", SECTIONS[f"jobstore.{store_class.__name__}"], re.M)
    public = {name for name in dir(store_class) if not name.startswith("_")} | {"__len__"}
    assert set(shown) == public
    assert all(getattr(store_class, name).__doc__ for name in shown)


def test_each_error_of_the_package_is_on_the_page_of_errors():
    defined = {
        node.name
        for path in Path(jobstore.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    assert defined - NEVER_RAISED_TO_CALLERS == {name for name in defined if f"{name}`" in ERRORS}

"""The web handlers of the page on monitoring answer as the page says."""

import json

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore
from support.pages import DOCS, blocks
from support.waiting import until

PAGE = DOCS / "how-to" / "monitor.md"


@pytest.fixture
def handlers(store):
    """Return the names that the blocks with handlers define, for a store of the tests."""
    namespace = {"jobstore": jobstore, "store": store}
    for block in blocks(PAGE):
        if "def get_health" in block.code or "def application" in block.code:
            exec(compile(block.code, block.place, "exec"), namespace)
    return namespace


def answers(handlers):
    """Return the status and the object that each handler answers."""
    response = handlers["get_health"]()
    yield response.status_code, json.loads(response.body)
    sent = []
    body = handlers["application"]({}, lambda status, headers: sent.append((status, headers)))
    [(status, headers)] = sent
    assert headers == [("Content-Type", "application/json")]
    yield int(status.split()[0]), json.loads(b"".join(body))


def test_handlers_answer_503_without_a_scheduler_and_200_with_one(handlers, store):
    assert [code for code, _ in answers(handlers)] == [503, 503]
    scheduler = BackgroundScheduler({"apscheduler.timezone": "UTC"}, jobstores={"default": store})
    scheduler.start()
    try:
        until(lambda: jobstore.health(store).level == "well")
        for code, found in answers(handlers):
            assert (code, found["level"]) == (200, "well")
            assert {each["level"] for each in found["findings"]} == {"well"}
    finally:
        scheduler.shutdown()
    for code, found in answers(handlers):
        assert (code, found["level"]) == (503, "down")

"""Fail points of the server: it answers commands with errors until a test turns them off."""

import pytest


class FailPoints:
    """The fail points of one server."""

    def __init__(self, client):
        self._client = client
        self._entered = {}  # how often each one that is on had been entered before

    def __call__(self, name, skip=0, **data):
        """Turn one on, after it has been skipped `skip` times."""
        mode = {"skip": skip} if skip else "alwaysOn"
        self._entered[name] = self._configure(name, mode, **({"data": data} if data else {}))

    def wait_until_entered(self, name, times):
        """Wait until it has been entered this often since it was turned on."""
        self._client.admin.command(
            "waitForFailPoint", name, timesEntered=self._entered[name] + times, maxTimeMS=60_000
        )

    def off(self):
        """Turn all off that are on."""
        while self._entered:
            self._configure(self._entered.popitem()[0], "off")

    def _configure(self, name, mode, **options):
        return self._client.admin.command("configureFailPoint", name, mode=mode, **options)["count"]


@pytest.fixture
def point(session_client):
    """Turns on a fail point of the server; the fixture turns all of them off again."""
    point = FailPoints(session_client)
    yield point
    point.off()

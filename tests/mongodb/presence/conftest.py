"""Fixtures: here the threads of presences work as they do for users."""

import pytest


@pytest.fixture(autouse=True)
def silent_presence():
    """Let presences be written, which the fixture of this name elsewhere prevents."""


@pytest.fixture(params=[False, True], ids=["queried", "mirrored"])
def standby_on(request, scheduler_on):
    """Return a function that starts a scheduler with others="wait"."""

    def standby_on(*args, **options):
        return scheduler_on(*args, **{"others": "wait", "mirror": request.param, **options})

    return standby_on

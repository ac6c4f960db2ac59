"""Ways to wait: for a condition, and for a call in another thread."""

import asyncio
import threading
import time

PATIENCE = 120  # seconds until a test that hangs fails; no test depends on a fast machine


def until(condition, seconds=PATIENCE):
    """Wait until the condition is true, and return its value. Fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.005)
    return result


async def until_in_loop(condition, seconds=PATIENCE):
    """Wait as `until` does, while the event loop runs."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        await asyncio.sleep(0.005)
    return result


def in_thread(call, *args):
    """Make the call in another thread, wait for its end, and return its result."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call(*args)))
    thread.start()
    thread.join(PATIENCE)
    return result[0]

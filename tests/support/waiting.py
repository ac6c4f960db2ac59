"""Ways to wait: for a condition, and for a call in another thread."""

import threading
import time


def until(condition, seconds=30):
    """Wait until it is so; return what it is then."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.005)
    return result


def in_thread(call, *args):
    """Call it in another thread, wait, and return what it returned."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call(*args)))
    thread.start()
    thread.join(30)
    return result[0]

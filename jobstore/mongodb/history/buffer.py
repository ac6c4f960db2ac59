"""A bounded buffer between the threads that report incidents and the thread that writes them."""

import time
from collections import deque
from contextlib import suppress
from threading import get_ident
from typing import Generic, TypeVar

from ..threads import ReentrantEvent

__all__ = ["BATCH", "Buffer", "first"]

CAPACITY = 10_000  # records, of 0.3 to 1 kB
BATCH = 1000  # records in one command

Entry = TypeVar("Entry")


def first(entries: deque[Entry], number: int) -> list[Entry]:
    """Remove and return the first entries, `number` at most; another thread may clear them."""
    taken = []
    with suppress(IndexError):
        for _ in range(number):
            taken.append(entries.popleft())
    return taken


class Buffer(Generic[Entry]):
    """Keeps entries in order until they are taken; a full buffer drops new ones, and counts them.

    `add` takes no lock, so a signal handler may call it while it interrupts another call.

    :ivar wanted: is set when a whole batch waits.
    :ivar dropped_at: when an entry was last dropped, by the monotonic clock; None before.
    """

    def __init__(self) -> None:
        self.wanted = ReentrantEvent()
        self._entries: deque[Entry] = deque()
        self._drops: dict[int, int] = {}  # by thread: each changes only its own
        self._reported = 0
        self._dropping_since: float | None = None
        self.dropped_at: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def dropped(self) -> int:
        """The number of entries dropped so far."""
        return sum(list(self._drops.values()))

    def add(self, entry: Entry) -> None:
        """Keep an entry, or drop it if the buffer is full."""
        entries = self._entries
        if len(entries) >= CAPACITY:
            if self._dropping_since is None:
                self._dropping_since = time.time()
            self.dropped_at = time.monotonic()
            thread = get_ident()
            self._drops[thread] = self._drops.get(thread, 0) + 1
            return
        entries.append(entry)
        if len(entries) >= BATCH and not self.wanted.is_set():
            self.wanted.set()

    def take(self) -> list[Entry]:
        """Remove and return the first entries, one batch at most."""
        return first(self._entries, BATCH)

    def take_dropped(self) -> tuple[int, float | None]:
        """Return how many entries were dropped since the last call, and when the first was.

        The time is in seconds since the epoch.
        """
        since, self._dropping_since = self._dropping_since, None
        dropped = self.dropped
        number, self._reported = dropped - self._reported, dropped
        return number, since

    def clear(self) -> int:
        """Drop all entries without counting them; return their number."""
        number = len(self._entries)
        self._entries.clear()
        return number
